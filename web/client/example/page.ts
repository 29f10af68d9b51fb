// The demo's services, called from a page: a unary call, both kinds of one-way streams, and a conversation, on one connection.
// `?transport=http` does without WebSockets.

import { TidegateClient, TidegateError, Writer, type ClientState } from "@tidegate/client";
import { Chat, Liker, type ChatMessage, type Post } from "./demo.js";

const transport = new URLSearchParams(location.search).get("transport");
const author = `Visitor ${crypto.getRandomValues(new Uint16Array(1))[0]}`;
const posts = new Map<string, { likes: HTMLElement; item: HTMLElement }>();

const client = new TidegateClient("/", {
  onState: showState,
  ...(transport && { transports: [transport === "http" ? "http" : "websocket"] }),
});
const liker = client.service(Liker);
const chat = client.service(Chat);

void watch();
void talk();
on("import", "click", importPosts);

/** Follows every change of a post; where the connection was lost, behind the last one that came. */
async function watch(): Promise<void> {
  for await (const { kind, post } of liker.watchLikes({})) {
    if (post) showPost(post);
    if (kind !== "SNAPSHOT") count("changes");
  }
}

function showPost({ id = "", title = "", likes = 0 }: Post): void {
  let shown = posts.get(id);
  if (!shown) {
    const [item, heart, number] = [element("li"), element("button", "♥"), element("span")];
    item.dataset["post"] = id;
    heart.addEventListener("click", () => void attempt(() => liker.like({ id }, { timeoutMs: 5000 })));
    item.append(heart, " ", number, ` ${title}`);
    byId("posts").append(item);
    posts.set(id, (shown = { item, likes: number }));
  }
  shown.likes.textContent = String(likes);
}

/** One call that takes many messages. */
async function importPosts(): Promise<void> {
  const { imported = 0 } = (await attempt(() =>
    liker.importPosts(["A heron", "An otter", "A seal"].map((title) => ({ title, author }))),
  )) ?? {};
  byId("note").textContent = `${imported} posts published`;
}

/** A conversation, which joins its room again when it was cut off. */
async function talk(): Promise<void> {
  const hello: ChatMessage = { room: "lobby", author };
  const says = new Writer<ChatMessage>();
  void says.send(hello);
  on("say", "submit", async (event) => {
    event.preventDefault();
    const field = byId("text") as HTMLInputElement;
    const text = field.value;
    field.value = "";
    // Sent when there is a connection, and the room has taken what was said before.
    await says.send({ room: "lobby", text });
  });
  for await (const { kind, author: who = "", text = "" } of chat.join(says, { resume: (_, sent) => (sent > 0 ? [hello] : []) })) {
    if (kind === "SAID" || kind === "EARLIER") byId("log").append(element("li", `${who}: ${text}`));
    else count("comings");
  }
}

function showState({ state, transport, error }: ClientState): void {
  const shown = byId("state");
  shown.dataset["state"] = state;
  shown.textContent = [state, transport, error?.message].filter(Boolean).join(", ");
}

/** What a call gave, or nothing and a word to the visitor. */
async function attempt<Reply>(call: () => Promise<Reply>): Promise<Reply | undefined> {
  try {
    return await call();
  } catch (error) {
    byId("note").textContent = error instanceof TidegateError ? `${error.codeName}: ${error.message}` : String(error);
    return undefined;
  }
}

function count(id: string): void {
  byId(id).textContent = String(Number(byId(id).textContent) + 1);
}

function on(id: string, type: string, listen: (event: Event) => Promise<void>): void {
  byId(id).addEventListener(type, (event) => void listen(event));
}

function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no ${id}`);
  return found;
}

function element(name: string, text = ""): HTMLElement {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
