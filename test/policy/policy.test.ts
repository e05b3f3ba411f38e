/** The policy service over a real bus with its own permissions: sign-in, decisions, leases, revocation, several of it. */

import { once } from 'node:events'
import { Kvm } from '@nats-io/kv'
import { describe, expect, test } from 'vitest'
import type { Bus } from '#infra/bus.ts'
import { readConfig } from '#infra/config.ts'
import { AuditEvent } from '#infra/contracts/audit.ts'
import {
  EvaluateReply,
  LeaseKey,
  Revocation,
  revocationKey,
  SignInReply,
} from '#infra/contracts/policy.ts'
import { createLeaseVerifier } from '#infra/lease.ts'
import { createLogger } from '#infra/log.ts'
import { buckets, subjects } from '#infra/subjects.ts'
import { PolicyConfig } from '../../policy/config.ts'
import { startPolicy } from '../../policy/policy.ts'
import { prepareStorage } from '../../registry/storage.ts'
import { startTestNats, type TestNats } from '../harness/nats.ts'
import { forkService } from './fork-service.ts'
import { application, facts } from './applications.ts'
import { type Claims, clientId, startTestProvider, type TestProvider } from './identity-provider.ts'
