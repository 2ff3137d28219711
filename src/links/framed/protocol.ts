/** The numbers of docs/link-protocol.md. */
export const protocolVersion = 1;

export const frame = {
  hello: 1,
  init: 2,
  ready: 3,
  failed: 4,
  invoke: 5,
  body: 6,
  end: 7,
  result: 8,
  error: 9,
  cancel: 10,
  window: 11,
  log: 12,
  drain: 13,
  ping: 14,
  pong: 15,
  call: 16,
  answer: 17,
  refused: 18,
  rehearse: 19,
} as const;

/** uint32 payload length, uint8 type, uint32 stream. */
export const headBytes = 9;
export const maxPayloadBytes = 2 ** 20;
/** What a side may send of one body before it hears `window`. */
export const initialWindow = 2 ** 20;
/** A receiver grants in steps of this size, so that a long body costs one `window` frame per quarter of the window. */
export const grantStep = 2 ** 18;
/** Stream numbers start anew before this one. */
export const streamLimit = 2 ** 31;
/** flags uint8 in front of a call's or an answer's head: the body ends with this frame. */
export const flagEnd = 1;
/** flags uint8 of a call, with `flagEnd`: the body says all there is to know, the head is empty. */
export const flagBodySuffices = 2;
/** uint32 CPU microseconds, uint64 peak bytes. */
export const measurementBytes = 12;
