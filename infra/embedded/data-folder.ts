/**
 * The folder where one system keeps its data between runs. Whoever opens it holds it until disposed or dead: the lock
 * is a socket in the folder, which the system closes with its process, so that a crash leaves nothing to clean up by
 * hand. Secrets are files of their own, readable by their owner alone.
 */

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join, relative, resolve } from 'node:path'
import { ConfigurationError } from '../config.ts'
import { createFolder, readIfThere, replaceFile } from '../files.ts'

export interface DataFolder extends AsyncDisposable {
  readonly directory: string
  /** The folder of one part, created. */
  part(name: string): Promise<string>
  /** A random secret that stays the same over runs. */
  secret(name: string): Promise<string>
  /** The path of that secret's file. */
  secretFile(name: string): string
  /** A value of an earlier run, or undefined. */
  recall(name: string): Promise<string | undefined>
  remember(name: string, value: string): Promise<void>
}

/** Creates the folder if need be. Refuses one that a running system uses. */
export async function openDataFolder(path: string): Promise<DataFolder> {
  const directory = resolve(path)
  await createFolder(directory).catch(error => {
    throw new ConfigurationError(
      `--data: ${directory} cannot be created (${error.code}); name another folder`,
    )
  })
  const lock = await hold(directory)
  const file = (name: string) => join(directory, name)
  const recall = async (name: string) => (await readIfThere(file(name)))?.trim()
  const remember = (name: string, value: string) => replaceFile(file(name), `${value}\n`)
  return {
    directory,
    part: async name => {
      await createFolder(file(name))
      return file(name)
    },
    secret: async name => {
      const kept = await recall(name)
      if (kept) return kept
      const secret = randomBytes(32).toString('base64url')
      await remember(name, secret)
      return secret
    },
    secretFile: file,
    recall,
    remember,
    [Symbol.asyncDispose]: async () => {
      lock.close()
    },
  }
}

async function hold(directory: string): Promise<Server> {
  const path = join(directory, 'lock')
  // The name of a socket may have about 100 bytes; the relative one is mostly shorter.
  const address = [path, relative(process.cwd(), path)].sort(
    (a, b) => a.length - b.length,
  )[0] as string
  try {
    return await listen(address)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EADDRINUSE') {
      throw new ConfigurationError(
        `--data: ${directory} cannot be locked (${code}); name a folder with a shorter path on a local disk that you may write`,
      )
    }
  }
  if (await isAnswered(address)) {
    throw new ConfigurationError(
      `--data: ${directory} is in use by a running system; stop that one, or name another folder`,
    )
  }
  await rm(path, { force: true })
  return listen(address)
}

async function listen(address: string): Promise<Server> {
  const server = createServer(socket => socket.destroy())
  server.listen(address)
  await once(server, 'listening')
  server.unref()
  return server
}

/** A socket file that nobody listens to is left over from a process that was killed. */
async function isAnswered(address: string): Promise<boolean> {
  const socket = connect(address)
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
