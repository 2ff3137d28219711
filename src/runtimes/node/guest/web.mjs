// Node's own fetch and its classes. They take some 25 ms and 8 MB to load, so nothing here may touch them before a
// function does: even looking at the property descriptors of the globals loads them. Ours stand in for the globals;
// the only way by which Node's come into being is its fetch, and there they are caught.
const fetchOfNode = globalThis.fetch;

/** Node's classes, once its fetch has answered for the first time. */
export const caught = { Response: undefined, Headers: undefined };

export async function fetchByNode(url, init) {
  const response = await fetchOfNode(url, init);
  caught.Response ??= response.constructor;
  caught.Headers ??= response.headers.constructor;
  return response;
}

/** Node's Response, for what is not worth doing again: reading multipart bodies. */
export async function responseOfNode() {
  if (caught.Response === undefined) await fetchByNode("data:,");
  return caught.Response;
}
