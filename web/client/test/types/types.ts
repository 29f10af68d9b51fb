// What the compiler must know of calls, and what it must refuse. Nothing here runs.

import { TidegateClient, type Replies } from "@tidegate/client";
import { Echo, type Msg, type Sum } from "../../../../tests/data/typescript/echo.js";
import { Shapes, type Tree } from "../../../../tests/data/typescript/shapes.js";

/** Fails where the types are not the same. */
type Same<One, Other> = (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false;
const same = <One, Other>(_: Same<One, Other>): void => undefined;

export async function calls(client: TidegateClient): Promise<void> {
  const echo = client.service(Echo);
  const shapes = client.service(Shapes);

  const said = await echo.say({ text: "a" }, { timeoutMs: 1000 });
  same<typeof said, Msg>(true);
  const replies = echo.down({ count: 3 });
  same<typeof replies, Replies<Msg>>(true);
  for await (const reply of replies) same<typeof reply, Msg>(true);
  const sum = await echo.up([{ text: "a" }]);
  same<typeof sum, Sum>(true);
  echo.chat(messages(), { resume: (last, sent) => [{ n: (last?.n ?? 0) + sent }] });
  echo.down({}, { resume: ({ n = 0 }, request) => ({ ...request, after: n }) });
  echo.down({}, { resume: false });

  // @ts-expect-error: no such method
  echo.sing({});
  // @ts-expect-error: no such field
  await echo.say({ txt: "a" });
  // @ts-expect-error: another type
  await echo.say({ n: "1" });
  // @ts-expect-error: one message, not many
  await echo.say([{ text: "a" }]);
  // @ts-expect-error: many messages, not one
  await echo.up({ text: "a" });
  // @ts-expect-error: a call of one reply is not resumed
  await echo.say({}, { resume: () => ({}) });
  // @ts-expect-error: no field of the request
  echo.down({}, { resume: () => ({ behind: 1 }) });
  // @ts-expect-error: no message of the method
  echo.chat(messages(), { resume: () => [{ txt: "a" }] });

  const tree: Tree = { name: "oak", leaf: "a", named: "RED", "[shapes.v1.extra]": "GREEN" };
  await shapes.Get(tree);
  // @ts-expect-error: one of a oneof
  await shapes.Get({ name: "oak", leaf: "a", tree: { name: "ash" } });
  // @ts-expect-error: a required field
  await shapes.Get({ leaf: "a" });
  // @ts-expect-error: closed enums have no other values
  await shapes.Get({ name: "oak", named: 7 });

  // By name, with the types that the caller says.
  const named = await client.unary<Msg>("tidegate.test.v1.Echo/Say", { text: "a" });
  same<typeof named, Msg>(true);
}

async function* messages(): AsyncGenerator<Msg> {
  yield { text: "a" };
}
