/** What is whole already, for those who read a stream. */
export async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}
