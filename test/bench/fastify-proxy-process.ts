/** @fastify/http-proxy as its documentation sets it up. Started only where it is installed. */

import fastify from 'fastify'
import { listen } from './listen.ts'
import { fastifyProxyPackage } from './targets/fastify-proxy.ts'

const { default: proxy } = await import(fastifyProxyPackage)
const server = fastify()
await server.register(proxy, { upstream: process.env.ORIGIN ?? '' })
await server.ready()
listen(server.server)
