/**
 * nginx with one worker and connections kept alive, from a configuration and folder of its own. Answers that stream
 * are not buffered, as ours are not.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '#infra/embedded/ports.ts'
import { type Child, end } from '../child.ts'
import { firstLineOf, programPath } from '../programs.ts'
import type { MissingTarget, Target } from './target.ts'

export async function nginx(origin: Child): Promise<Target | MissingTarget> {
  const program = await programPath('nginx')
  if (!program) return { name: 'nginx', note: 'not measured: nginx is not installed' }
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-bench-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const port = await freePort()
  const file = join(folder, 'nginx.conf')
  await writeFile(file, configuration(folder, port, origin.port))
  const child = spawn(program, ['-c', file, '-p', folder], { stdio: ['ignore', 'ignore', 'pipe'] })
  stack.defer(() => end(child))
  await Promise.race([
    listening(port),
    once(child, 'exit').then(() => Promise.reject(new Error(`nginx ended; see ${folder}`))),
  ])
  const master = child.pid ?? 0
  const workers = await readFile(`/proc/${master}/task/${master}/children`, 'utf8')
  const owned = stack.move()
  return {
    name: 'nginx',
    port,
    headers: {},
    processes: { nginx: [master, ...workers.trim().split(/\s+/).map(Number)] },
    version: await firstLineOf(program, ['-v']),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function configuration(folder: string, port: number, originPort: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `
${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  ${temporary.map(name => `${name}_temp_path ${folder}/${name};`).join('\n  ')}
  client_max_body_size 0;
  keepalive_requests 1000000000;
  upstream origin {
    server 127.0.0.1:${originPort};
    keepalive 64;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port};
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    location / { proxy_pass http://origin; }
    location ~ ^/(download|upload|stream) {
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_pass http://origin;
    }
  }
}
`
}

const listeningWithinMs = 10_000

async function listening(port: number): Promise<void> {
  for (const until = Date.now() + listeningWithinMs; Date.now() < until; ) {
    const socket = connect(port, '127.0.0.1')
    const isUp = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (isUp) return
    await sleep(20)
  }
  throw new Error(`nginx does not listen on port ${port}`)
}
