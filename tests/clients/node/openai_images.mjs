// The official OpenAI client in JavaScript against an OpenAI Images upstream: its base URL, and its /admin page. See
// openai_images.py.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";
import { deflateSync, crc32 } from "node:zlib";

const require = createRequire(path.join(process.env.EASEL_NODE_MODULES, "nowhere.js"));
const { default: OpenAI, toFile } = require("openai");
const [baseURL, admin] = process.argv.slice(2);

const behave = (behaviour) => fetch(admin, { method: "POST", body: JSON.stringify(behaviour) });
const sizeOf = (base64) => {
  const file = Buffer.from(base64, "base64");
  assert.equal(file.toString("latin1", 1, 4), "PNG");
  return [file.readUInt32BE(16), file.readUInt32BE(20)];
};

function png(width, height) {
  const chunk = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    const length = Buffer.alloc(4), sum = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2], 8);
  const rows = Buffer.alloc((1 + 3 * width) * height);
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), chunk("IHDR", header), chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

const client = new OpenAI({ baseURL, apiKey: "sk-test", maxRetries: 0, timeout: 5000 });
const picture = { model: "gpt-image-1.5", prompt: "a fox" };

const answer = await client.images.generate({ ...picture, n: 2, size: "1536x1024" });
assert.deepEqual(answer.data.map((item) => sizeOf(item.b64_json)), [[1536, 1024], [1536, 1024]]);
assert.ok(answer.usage.total_tokens > 0);
console.log("ok: two pictures, their size and their usage");

const photo = await toFile(png(96, 64), "photo.png", { type: "image/png" });
const edited = await client.images.edit({ model: "gpt-image-1.5", prompt: "a hat", image: [photo, photo] });
assert.deepEqual(sizeOf(edited.data[0].b64_json), [1536, 1024]);
console.log("ok: two pictures are changed into one");

const kinds = [];
for await (const event of await client.images.generate({ ...picture, stream: true, partial_images: 1 })) {
  kinds.push(event.type);
}
assert.deepEqual(kinds, ["image_generation.partial_image", "image_generation.completed"]);
console.log("ok: events of a stream");

await assert.rejects(client.images.generate({ ...picture, size: "5x5" }), (error) =>
  error instanceof OpenAI.BadRequestError && error.param === "size" && error.code === "invalid_value");
for (const [fault, kind, code] of [
  ["rate-limit:12", OpenAI.RateLimitError, "rate_limit_exceeded"],
  ["invalid-key", OpenAI.AuthenticationError, "invalid_api_key"],
  ["refused", OpenAI.BadRequestError, "moderation_blocked"],
  ["unknown-model", OpenAI.NotFoundError, "model_not_found"],
  ["page:502", OpenAI.InternalServerError, undefined],
]) {
  await behave({ fault, times: 1 });
  await assert.rejects(client.images.generate(picture), (error) => error instanceof kind && (error.code ?? undefined) === code);
}
console.log("ok: errors are the exceptions that they are named after");

await behave([{ fault: "status:500" }, {}]);
const again = new OpenAI({ baseURL, apiKey: "sk-test", maxRetries: 1, timeout: 5000 });
assert.equal((await again.images.generate(picture)).data.length, 1);
console.log("ok: a retry of the client's own gets its picture");
