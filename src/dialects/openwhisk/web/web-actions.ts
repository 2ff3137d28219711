/** `/api/v1/web/…`: actions as web pages and web services (contract section 2.4). */
import type { Json } from "../../../core/workflow/definition.ts";
import { ActionCall } from "../action-call.ts";
import type { WhiskContext } from "../context.ts";
import { notFound, WhiskError } from "../errors.ts";
import type { Exchange } from "../exchange.ts";
import { longestWaitMs, protectedNames } from "../invoke.ts";
import { sizeLimits } from "../limits.ts";
import { annotation, type ResolvedAction, resolveAction } from "../resolution.ts";
import { type Extension, readWebAddress } from "./address.ts";
import { webAnswer } from "./answer.ts";
import { webArguments } from "./arguments.ts";

/** `path` is what stands behind `/api/v1/web/`. */
export async function serveWebAction(context: WhiskContext, exchange: Exchange, path: string): Promise<void> {
  const address = readWebAddress(path);
  if (address === undefined) throw notFound();
  const { namespace, name, extension } = address;
  const called = { namespace, name, ...(address.package === undefined ? {} : { package: address.package }) };
  await serve(context, exchange, await exported(context, called), { extension, path: address.path });
}

/** As `serveWebAction`, for the API gateway: what the action is told of its path is the gateway's to say. */
export async function serve(
  context: WhiskContext,
  exchange: Exchange,
  action: ResolvedAction,
  {
    extension,
    path,
    isTrusted = false,
  }: {
    readonly extension: Extension;
    readonly path: string;
    /** The API gateway knows the secret of a secured action. */
    readonly isTrusted?: boolean;
  },
): Promise<void> {
  const { annotations } = action.action;
  const owner = action.called.namespace;
  const hasOwnOptions = annotation(annotations, "web-custom-options") === true;
  const cors = hasOwnOptions ? [] : corsHeaders(exchange);
  if (exchange.method === "OPTIONS" && !hasOwnOptions) {
    exchange.sendBare(200, nothing, cors);
    return;
  }
  const subject = context.subjects.authenticate(exchange.header("authorization"));
  // A preflight has no credentials.
  const isOpen = isTrusted || exchange.method === "OPTIONS";
  const user = isOpen ? subject?.namespace : checkSecured(exchange, action, subject?.namespace);
  const raw = annotation(annotations, "raw-http") === true;
  const body = await exchange.body(sizeLimits.payload);
  const args = webArguments(
    {
      method: exchange.method,
      headers: lowerCase(exchange.request.rawHeaders),
      path,
      query: exchange.queryText,
      body,
      ...(user === undefined ? {} : { user }),
    },
    { raw, protected: protectedNames(action) },
  );
  const over = context.throttles.invocation(owner, context.subjects.get(owner));
  try {
    const call = new ActionCall({
      action,
      caller: owner,
      payload: Buffer.from(JSON.stringify(args)),
      ...exchange.callIds(),
      transactionId: exchange.transactionId,
      cause: "http",
    });
    const invoked = await context.invocations.invoke(call, longestWaitMs);
    const id = ["x-openwhisk-activation-id", invoked.activationId];
    if (invoked.pending) {
      const document = { error: "Response not yet ready.", code: exchange.transactionId };
      exchange.sendBare(202, Buffer.from(JSON.stringify(document)), [
        "content-type",
        "application/json",
        ...cors,
        ...id,
      ]);
      return;
    }
    const answer = webAnswer(invoked.response, extension);
    exchange.sendBare(answer.status, answer.body, [...cors, ...id, ...answer.headers]);
  } catch (thrown) {
    if (!(thrown instanceof WhiskError)) throw thrown;
    const document = { error: thrown.message, code: exchange.transactionId };
    exchange.sendBare(thrown.status, Buffer.from(JSON.stringify(document)), [
      "content-type",
      "application/json",
      ...cors,
    ]);
  } finally {
    over();
  }
}

/** The action of a web address; the same 404 whether it is not there or not for the web. */
export async function exported(context: WhiskContext, called: ResolvedAction["called"]): Promise<ResolvedAction> {
  let found: ResolvedAction;
  try {
    found = await resolveAction(context.documents, called, called.namespace);
  } catch (thrown) {
    throw thrown instanceof WhiskError ? notFound() : thrown;
  }
  if (annotation(found.action.annotations, "web-export") !== true) throw notFound();
  return found;
}

/** By `require-whisk-auth`: open, for users with a key, or for who knows its secret. Gives the user to tell the action of. */
function checkSecured(exchange: Exchange, { action }: ResolvedAction, user: string | undefined): string | undefined {
  const required: Json | undefined = annotation(action.annotations, "require-whisk-auth");
  if (required === undefined || required === false) return user;
  if (required === true && user !== undefined) return user;
  const isSecret = typeof required === "string" || typeof required === "number";
  if (isSecret && exchange.header("x-require-whisk-auth") === String(required)) return user;
  throw new WhiskError(401, "The supplied authentication is invalid.");
}

function corsHeaders(exchange: Exchange): string[] {
  const wanted = exchange.header("access-control-request-headers");
  return [
    "access-control-allow-origin",
    "*",
    "access-control-allow-methods",
    "OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH",
    "access-control-allow-headers",
    wanted ?? "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent",
  ];
}

function lowerCase(raw: readonly string[]): string[] {
  return raw.map((part, index) => (index % 2 === 0 ? part.toLowerCase() : part));
}

const nothing = new Uint8Array(0);
