/**
 * Connections past the bus, from a connector to one gateway. The connector dials the gateway's own door, by which it
 * enrolled, after the gateway has offered it with a key that works once: for the bytes of a large body (bulk.ts), or as a
 * line for answers (answer-line.ts). What is offered, and which, is said on the bus, on a subject that this connector
 * alone hears.
 *
 *   connector                                                gateway
 *      │ GET …/connectors/direct, Upgrade, the key as Bearer      │
 *      │─────────────────────────────────────────────────────────►│
 *      │◄───────────────────────────────── 101, or 421: not mine ─│
 *      │── u8 1: there it is ────────────────────────────────────►│
 *
 * A connection that does not come about costs nothing: everything goes on over the bus.
 */

export const directProtocol = 'sallyport-direct'

/** Relative to the portal. */
export const directPath = '.sallyport/connectors/direct'

/** The first octet of the connector. */
export const directReady = Buffer.of(1)
