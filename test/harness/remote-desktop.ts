/**
 * A remote desktop and a client for it that nobody here wrote, as Debian packages them: xrdp, and FreeRDP on a screen
 * of Xvfb's (packages freerdp2-x11, xrdp, xvfb), each with a folder, a port and a configuration of its own. The
 * desktop shows its login dialog, in colours of its own; what is on the screen is read from Xvfb's frame buffer.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { vi } from 'vitest'
import { freePort } from '#infra/embedded/ports.ts'
import type { TestCertificate } from './certificate.ts'

/** What has to be there. */
export const remoteDesktopPrograms = ['xrdp', 'Xvfb', 'xfreerdp']

/** Of the desktop behind the dialog, and of the dialog. */
export const desktopColours = { background: 0x3c1e5a, dialog: 0xd2e6b4 }

export interface RemoteDesktop extends AsyncDisposable {
  readonly port: number
  /** What it has written so far. */
  log(): Promise<string>
}

export interface Screen extends AsyncDisposable {
  readonly folder: string
  readonly display: string
  /** How many pixels there are of each colour (0xRRGGBB). */
  colours(): Promise<ReadonlyMap<number, number>>
}

export interface RemoteDesktopClient extends AsyncDisposable {
  /** What it said, when it has ended. */
  readonly lastWords: string | undefined
}

export interface RemoteDesktopClientOptions {
  screen: Screen
  certificate: TestCertificate
  /** Host and port of the Remote Desktop Gateway. */
  gateway: string
  transport: 'http' | 'http,no-websockets'
  account: { user: string; password: string }
}

/** What clients call the desktop: a name of the certificate, and of no machine. */
const desktopName = 'desktop.sallyport.localhost'

export async function startRemoteDesktop(certificate: TestCertificate): Promise<RemoteDesktop> {
  await using stack = new AsyncDisposableStack()
  const folder = await newFolder(stack, 'xrdp')
  const [port, logPath] = [await freePort(), join(folder, 'xrdp.log')]
  const configurationPath = join(folder, 'xrdp.ini')
  await writeFile(configurationPath, configuration(port, logPath, certificate))
  const server = spawn('xrdp', ['--nodaemon', '--config', configurationPath], { stdio: 'ignore' })
  stack.defer(() => end(server))
  const log = () => readFile(logPath, 'utf8').catch(() => '')
  const isListening = async () => (await log()).includes('xrdp_listen_pp done')
  await vi.waitUntil(isListening, { timeout: 10_000, interval: 50 })
  const owned = stack.move()
  return { port, log, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

function configuration(port: number, logPath: string, certificate: TestCertificate): string {
  const hex = (colour: number) => colour.toString(16).padStart(6, '0')
  const globals = {
    ini_version: 1,
    fork: false,
    port: `tcp://127.0.0.1:${port}`,
    security_layer: 'tls',
    certificate: certificate.certificatePath,
    key_file: certificate.keyPath,
    allow_channels: true,
    max_bpp: 32,
    ls_top_window_bg_color: hex(desktopColours.background),
    ls_bg_color: hex(desktopColours.dialog),
    ls_width: 350,
    ls_height: 430,
  }
  const logging = { LogFile: logPath, LogLevel: 'INFO', EnableSyslog: false }
  const session = { name: 'Xorg', lib: 'libxup.so', username: 'ask', password: 'ask', code: 20 }
  const sections = { Globals: globals, Logging: logging, Channels: {}, Xorg: session }
  return Object.entries(sections)
    .flatMap(([name, settings]) => [
      `[${name}]`,
      ...Object.entries(settings).map(([key, value]) => `${key}=${value}`),
      '',
    ])
    .join('\n')
}

export async function startScreen(): Promise<Screen> {
  await using stack = new AsyncDisposableStack()
  const folder = await newFolder(stack, 'screen')
  const words = ['-displayfd', '3', '-screen', '0', '800x600x24', '-fbdir', folder]
  const server = spawn('Xvfb', [...words, '-nolisten', 'tcp'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  })
  stack.defer(() => end(server))
  const [number] = await once(server.stdio[3] as NodeJS.ReadableStream, 'data')
  const display = `:${String(number).trim()}`
  const colours = async () => coloursOf(await readFile(join(folder, 'Xvfb_screen0')))
  const owned = stack.move()
  return { folder, display, colours, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** Of an X window dump (XWDFile.h): numbers in network order, a table of colours, 32 bits for each pixel. */
function coloursOf(dump: Buffer): Map<number, number> {
  const [headBytes, width, height] = [0, 16, 20].map(at => dump.readUInt32BE(at)) as [
    number,
    number,
    number,
  ]
  const tableEntryBytes = 12
  const start = headBytes + dump.readUInt32BE(76) * tableEntryBytes
  const counts = new Map<number, number>()
  for (let at = start; at < start + width * height * 4; at += 4) {
    const colour = dump.readUInt32LE(at) & 0xffffff
    counts.set(colour, (counts.get(colour) ?? 0) + 1)
  }
  return counts
}

/** Connects to the desktop through a gateway, whose certificate it checks, and the desktop's too. */
export function startRemoteDesktopClient(options: RemoteDesktopClientOptions): RemoteDesktopClient {
  const { screen, certificate, gateway, transport, account } = options
  const client = spawn(
    'xfreerdp',
    [
      // Without a name, for with one it would sign in by itself and show no dialog.
      ...[`/v:${desktopName}`, '/u:', '/p:', `/g:${gateway}`, `/gt:${transport}`],
      ...[`/gu:${account.user}`, `/gp:${account.password}`, '/cert:deny', '/w:640', '/h:480'],
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        DISPLAY: screen.display,
        HOME: screen.folder,
        SSL_CERT_FILE: certificate.certificatePath,
      },
    },
  )
  let lastWords: string | undefined
  const said = Promise.all([text(client.stdout), text(client.stderr)])
  void said.then(words => {
    lastWords = words.join('')
  })
  return {
    get lastWords() {
      return lastWords
    },
    [Symbol.asyncDispose]: () => end(client),
  }
}

async function newFolder(stack: AsyncDisposableStack, name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `sallyport-${name}-`))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  return folder
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
}
