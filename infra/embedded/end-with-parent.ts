/**
 * Ends a child process when this process is gone, however it went: also by SIGKILL, when no handler of ours runs. Node
 * has no death signal, so a tiny shell waits at the other end of a pipe that nobody else holds; the system closes the
 * pipe together with this process.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/** Ends politely, and after five seconds by force. `$1` is the process to end. */
const script = `
read -r _
kill -TERM "$1" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
  kill -0 "$1" 2>/dev/null || exit 0
  sleep 0.5
done
kill -KILL "$1" 2>/dev/null`

/** Binds the life of `child` to this process. Resolves when the watch stands; it ends with the child. */
export async function endWithParent(child: ChildProcess): Promise<void> {
  const { pid } = child
  if (pid === undefined) throw new TypeError('the process has not been started')
  const watch = spawn('/bin/sh', ['-c', script, 'sh', String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // A Ctrl-C in the terminal reaches the whole process group, and must not reach the watch.
    detached: true,
  })
  // Its process id may soon be another process's: the watch must be gone before that.
  child.once('exit', () => watch.kill('SIGKILL'))
  watch.stdin?.on('error', () => undefined)
  await once(watch, 'spawn')
  watch.unref()
}
