import assert from "node:assert/strict";
import { Agent, request } from "node:http";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { missingClients } from "../../clients/clients.ts";
import { missingTools } from "../../tools.ts";
import { Faas } from "./faas.ts";
import { buildNode } from "./node-image.ts";
import { Receiver } from "./receiver.ts";
import { until } from "../../until.ts";

const skip = missingClients("faas-cli") || missingTools("bwrap");

/** Calls that are accepted in all, and how many are under way at a time. */
const calls = 10_000;
const clients = 48;

describe("OpenFaaS's queue on a platform that is killed", { skip, timeout: 190_000 }, () => {
  let faas: Faas;
  let receiver: Receiver;
  before(async () => {
    [faas, receiver] = await Promise.all([Faas.start(), Receiver.open()]);
    await buildNode(faas, "echo", "module.exports = async (event, context) => context.succeed(event.body);");
  });
  after(async () => {
    receiver?.close();
    await faas?.stop();
  });

  test("each of 10,000 accepted calls has its callback", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: clients });
    const accepted = new Map<string, string>();
    let number = 0;
    const send = async (): Promise<void> => {
      while (accepted.size < calls) {
        const body = String(number++);
        const id = await accept(agent, body).catch(() => undefined);
        // The server is gone: this call was not accepted, as far as its client knows.
        if (id === undefined) await pause(20);
        else accepted.set(id, body);
      }
    };
    const sending = Promise.all(Array.from({ length: clients }, send));
    for (const share of [0.3, 0.7]) {
      await until(() => accepted.size > calls * share, "the calls are not accepted", 60_000);
      await faas.platform.kill();
      await faas.up();
    }
    await sending;
    agent.destroy();

    const told = new Map<string, string[]>();
    const missing = (): string[] => [...accepted.keys()].filter((id) => !told.has(id));
    let read = 0;
    await until(
      () => {
        for (; read < receiver.received.length; read++) {
          const { headers, body } = receiver.received[read]!;
          const id = String(headers["x-call-id"]);
          assert.equal(headers["x-function-status"], "200");
          told.set(id, [...(told.get(id) ?? []), body]);
        }
        return missing().length === 0;
      },
      "calls have no callback",
      120_000,
    );
    for (const [id, body] of accepted) assert.deepEqual(new Set(told.get(id)), new Set([body]));
    const twice = [...told.values()].filter(({ length }) => length > 1).length;
    assert.ok(twice <= 2 * sentAtOnce, `${twice} callbacks came more than once`);
  });

  function accept(agent: Agent, body: string): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const outgoing = request(`${faas.gateway}/async-function/echo`, {
      method: "POST",
      agent,
      headers: {
        "content-type": "text/plain",
        "content-length": body.length,
        "x-callback-url": receiver.url("/callback"),
      },
    });
    outgoing.on("error", reject).on("response", (response) => {
      response.on("error", reject).resume();
      response.on("end", () => {
        if (response.statusCode === 202) resolve(String(response.headers["x-call-id"]));
        else reject(new Error(`answered ${response.statusCode}`));
      });
    });
    outgoing.end(body);
    return promise;
  }
});

/** Callbacks that a kill can find sent and not yet written down as such. */
const sentAtOnce = 64;
