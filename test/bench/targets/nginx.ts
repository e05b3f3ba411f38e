/**
 * nginx with one worker and connections kept alive, from a configuration and folder of its own. Answers that stream
 * are not buffered, as ours are not.
 */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '#infra/embedded/ports.ts'
import { startDaemon } from '../machine/daemon.ts'
import { temporaryFolder } from '../machine/folder.ts'
import { programPath, versionOf } from '../machine/programs.ts'
import { type MissingTarget, notInstalled, type StartOptions, type Target } from './target.ts'

export async function nginx(options: StartOptions): Promise<Target | MissingTarget> {
  const program = await programPath('nginx')
  if (!program) return notInstalled('nginx', 'nginx')
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await temporaryFolder()).path
  const port = await freePort()
  const file = join(folder, 'nginx.conf')
  await writeFile(file, configuration(folder, port, options))
  const daemon = stack.use(await startDaemon(program, ['-c', file, '-p', folder], { port, folder }))
  const owned = stack.move()
  return {
    name: 'nginx',
    port,
    isSecure: options.certificate !== undefined,
    headers: {},
    processes: { nginx: [daemon.pid] },
    version: `${await versionOf(program, ['-v'])}, 1 worker, connections kept alive`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

function configuration(folder: string, port: number, { origin, certificate }: StartOptions) {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `
${process.getuid?.() === 0 ? 'user root;' : ''}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events { worker_connections 10000; }
http {
  access_log off;
  ${temporary.map(name => `${name}_temp_path ${folder}/${name};`).join('\n  ')}
  client_max_body_size 0;
  keepalive_requests 1000000000;
  map $http_upgrade $connection_header { default upgrade; '' ''; }
  upstream origin {
    server 127.0.0.1:${origin.port};
    keepalive 64;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port}${certificate ? ' ssl' : ''};
    ${certificate ? `ssl_certificate ${certificate.certificatePath};` : ''}
    ${certificate ? `ssl_certificate_key ${certificate.keyPath};` : ''}
    ${certificate ? 'ssl_protocols TLSv1.3;' : ''}
    proxy_http_version 1.1;
    proxy_set_header Connection $connection_header;
    proxy_set_header Upgrade $http_upgrade;
    proxy_read_timeout 600s;
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
