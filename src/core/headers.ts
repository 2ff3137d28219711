/** The first value of a header in a flat list (name, value, name, value); `name` is written as the list has it, mostly in lower case. */
export function headerOf(headers: readonly string[], name: string): string | undefined {
  for (let index = 0; index + 1 < headers.length; index += 2) if (headers[index] === name) return headers[index + 1];
  return undefined;
}
