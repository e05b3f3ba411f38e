/**
 * gRPC spoken by the library that others use (@grpc/grpc-js), server and client, with messages that are plain bytes:
 * one method for each kind of call, which do what the request says.
 */

import {
  type ChannelCredentials,
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  credentials,
  type Metadata,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type ServiceError,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'

const same = (bytes: Buffer) => bytes

const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/test.Calls/${name}`,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
})

const calls = {
  unary: method('Unary', false, false),
  serverStream: method('ServerStream', false, true),
  clientStream: method('ClientStream', true, false),
  bidirectional: method('Bidirectional', true, true),
} satisfies ServiceDefinition

export interface GrpcOrigin extends AsyncDisposable {
  /** HTTP/2 from the first byte. */
  readonly url: string
  /** Ends at once, with calls under way. */
  end(): void
}

export async function startGrpcOrigin(
  implementation: Record<keyof typeof calls, UntypedServiceImplementation[string]>,
): Promise<GrpcOrigin> {
  const server = new Server({ 'grpc.max_receive_message_length': -1 })
  server.addService(calls, implementation)
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  )
  return {
    url: `http://127.0.0.1:${port}/`,
    end: () => server.forceShutdown(),
    [Symbol.asyncDispose]: async () => server.forceShutdown(),
  }
}

type Options = { deadline?: Date }
type Callback = (error: ServiceError | null, reply?: Buffer) => void

export interface GrpcClient extends Client {
  unary(message: Buffer, metadata: Metadata, options: Options, callback: Callback): ClientUnaryCall
  serverStream(
    message: Buffer,
    metadata?: Metadata,
    options?: Options,
  ): ClientReadableStream<Buffer>
  clientStream(metadata: Metadata, callback: Callback): ClientWritableStream<Buffer>
  bidirectional(metadata?: Metadata): ClientDuplexStream<Buffer, Buffer>
}

const Calls = makeGenericClientConstructor(calls, 'Calls')

/** A client of an application at this gateway. */
export function grpcClient(gateway: string, host: string, ca: string): GrpcClient {
  const { port } = new URL(gateway)
  const name = `${host}.sallyport.localhost`
  const secure: ChannelCredentials = credentials.createSsl(Buffer.from(ca))
  return new Calls(`127.0.0.1:${port}`, secure, {
    'grpc.ssl_target_name_override': name,
    'grpc.default_authority': `${name}:${port}`,
    'grpc.max_receive_message_length': -1,
    // Each test has a connection of its own.
    'grpc.use_local_subchannel_pool': 1,
  }) as unknown as GrpcClient
}
