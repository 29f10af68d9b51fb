// Sends forms as a page's script does, with fetch and FormData; prints each answer on a line.
//
//     node form_client.mjs http://127.0.0.1:PORT
const [base] = process.argv.slice(2);

async function post(path, body) {
  const answer = await fetch(base + path, { method: "POST", body });
  console.log(JSON.stringify(await answer.json()));
}

await post("/b1", new URLSearchParams([["s", "a b&ä"], ["rs", "1"], ["rs", "2"]]));

const form = new FormData();
form.append("title", 'Ein "Titel"\nü');
form.append("detail", new Blob(['{"i":3}'], { type: "application/json" }));
form.append("image", new File(["hi"], 'ä".png', { type: "image/png" }));
form.append("image", new File(["ho"], "2.txt", { type: "text/plain" }));
await post("/files/a/images", form);
