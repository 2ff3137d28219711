/**
 * The id of a request in `x-request-id`. A caller's own is kept, so that its log and ours can be joined, as long as it is
 * fit to be written into a log line and a header: visible ASCII, at most 128 characters. Else `make` gives one.
 */
export function requestId(given: string | undefined, make: () => string): string {
  return given !== undefined && given.length <= 128 && visible.test(given) ? given : make();
}

const visible = /^[\x21-\x7e]+$/;
