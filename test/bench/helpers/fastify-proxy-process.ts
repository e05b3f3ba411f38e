/** @fastify/http-proxy as its documentation sets it up. Started only where it is installed. */

import { createRequire } from 'node:module'
import fastify from 'fastify'
import { listen } from './listen.ts'

const server = fastify()
await server.register(createRequire(import.meta.url)('@fastify/http-proxy'), {
  upstream: process.env.ORIGIN ?? '',
})
await server.ready()
listen(server.server)
