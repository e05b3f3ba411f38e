/**
 * Creates everything durable that Sallyport has: the key-value buckets and the stream AUDIT. Runs at every start of a
 * registry and changes what differs from here, so that settings follow the configuration; content is never touched.
 * The other services wait for their buckets, so order does not matter.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import {
  DiscardPolicy,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from '@nats-io/jetstream'
import { nanos } from '@nats-io/transport-node'
import type { Bus } from '#infra/bus.ts'
import { ConfigurationError } from '#infra/config.ts'
import { detailOf } from '#infra/errors.ts'
import type { Logger } from '#infra/log.ts'
import { bucketEntry, buckets, streams, subjects } from '#infra/subjects.ts'

export interface StorageOptions {
  replicas: number
  auditMaxBytes: number
  auditMaxAgeMs: number
  log: Logger
  signal?: AbortSignal
}

type Settings = Partial<StreamConfig> & Pick<StreamConfig, 'name' | 'subjects'>

const minuteMs = 60_000
const hourMs = 60 * minuteMs

interface BucketSettings {
  history?: number
  /** Entries vanish this long after they were written. */
  lifetimeMs?: number
  /** Watchers are told of vanished entries by markers, which vanish themselves. */
  markers?: boolean
}

const bucketSettings: Record<(typeof buckets)[keyof typeof buckets], BucketSettings> = {
  [buckets.applications]: { history: 5 },
  [buckets.connectorGroups]: { history: 5 },
  [buckets.connectors]: { markers: true },
  [buckets.sessions]: { lifetimeMs: 24 * hourMs },
  [buckets.codes]: { lifetimeMs: minuteMs },
  [buckets.principals]: { lifetimeMs: 24 * hourMs },
  [buckets.revocations]: { lifetimeMs: 25 * hourMs, markers: true },
  [buckets.policies]: { history: 5 },
  [buckets.signals]: { markers: true },
  [buckets.leaseKeys]: { lifetimeMs: 10 * minuteMs, markers: true },
  [buckets.assertionKeys]: { lifetimeMs: 10 * minuteMs, markers: true },
  // Each entry of these brings its own lifetime.
  [buckets.enrolmentTokens]: { markers: true },
  [buckets.enrolmentConsents]: { markers: true },
  [buckets.revokedCertificates]: { markers: true },
}

/** Window in which the stream recognizes an audit event that it has already (by `Nats-Msg-Id`). */
const duplicateWindowMs = 2 * minuteMs

/** Creates or updates all buckets and the stream. Tries again, with a log line, until JetStream is ready. */
export async function prepareStorage(bus: Bus, options: StorageOptions): Promise<void> {
  const { log, signal } = options
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted()
    try {
      const manager = await jetstreamManager(bus.connection, { timeout: 5_000 })
      for (const settings of wanted(options)) await prepare(manager, settings, log)
      return
    } catch (error) {
      throwIfFinal(error)
      const reason = detailOf(error)
      log.warn(`storage is not ready yet (${reason}); attempt ${attempt}, trying again`)
      await sleep(Math.min(250 * attempt, 2_000), undefined, signal ? { signal } : {})
    }
  }
}

function wanted(options: StorageOptions): Settings[] {
  const all = Object.entries(bucketSettings).map(([bucket, settings]) =>
    bucketStream(bucket, settings, options.replicas),
  )
  return [...all, auditStream(options)]
}

/** A bucket as the key-value clients of NATS create it (ADR-8). */
function bucketStream(bucket: string, settings: BucketSettings, replicas: number): Settings {
  const { history = 1, lifetimeMs = 0, markers = false } = settings
  return {
    name: `KV_${bucket}`,
    subjects: [bucketEntry(bucket, '>')],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
    max_msgs_per_subject: history,
    max_age: nanos(lifetimeMs),
    duplicate_window: nanos(Math.min(lifetimeMs || duplicateWindowMs, duplicateWindowMs)),
    num_replicas: replicas,
    allow_rollup_hdrs: true,
    allow_direct: true,
    deny_delete: true,
    ...(markers && { allow_msg_ttl: true, subject_delete_marker_ttl: nanos(10 * minuteMs) }),
  }
}

function auditStream({ replicas, auditMaxBytes, auditMaxAgeMs }: StorageOptions): Settings {
  return {
    name: streams.audit,
    subjects: [subjects.audits, subjects.auditBatchEnd],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    discard: DiscardPolicy.Old,
    max_age: nanos(auditMaxAgeMs),
    max_bytes: auditMaxBytes,
    duplicate_window: nanos(duplicateWindowMs),
    num_replicas: replicas,
    allow_direct: true,
    allow_atomic: true,
    allow_batched: true,
    deny_delete: true,
    deny_purge: true,
  }
}

async function prepare(manager: JetStreamManager, settings: Settings, log: Logger): Promise<void> {
  const present = await manager.streams.info(settings.name).catch(error => {
    if (error instanceof JetStreamApiError && error.status === 404) return undefined
    throw error
  })
  if (!present) {
    await manager.streams.add(settings)
    log.info({ stream: settings.name }, 'created')
    return
  }
  const differing = differences(present.config, settings)
  if (differing.length === 0) return
  await manager.streams.update(settings.name, settings)
  log.info({ stream: settings.name, settings: differing }, 'settings changed')
}

/** Names of settings that are not as wanted. The server leaves out what is 0 or false. */
function differences(present: StreamConfig, settings: Settings): string[] {
  const names = Object.keys(settings) as (keyof StreamConfig)[]
  return names.filter(name => {
    const [is, should] = [present[name] || null, settings[name] || null]
    return JSON.stringify(is) !== JSON.stringify(should)
  })
}

/** Answers of JetStream that no waiting will change, and what the operator can do about each. */
const finalAnswers: Record<number, string> = {
  10047:
    'the bus has less storage left than the audit trail may take: lower SALLYPORT_REGISTRY_AUDIT_MAX_BYTES, ' +
    'or raise max_file_store of nats-server',
  10052: 'a store has settings that cannot be changed while it exists',
  10074: 'the bus is a single server: set SALLYPORT_REGISTRY_REPLICAS to 1, or run a cluster',
}

function throwIfFinal(error: unknown): void {
  if (!(error instanceof JetStreamApiError)) return
  const advice = finalAnswers[error.code]
  if (advice === undefined) return
  throw new ConfigurationError(`Storage cannot be prepared: ${advice} (${error.message})`, {
    cause: error,
  })
}
