export default async function handler(request, context) {
  const url = new URL(request.url);
  const name = url.searchParams.get("name") ?? "world";
  context.log.info(`greeting ${name}`);
  return { hello: name, revision: context.revision };
}
