// `watersic serve` through npm's openai. openai_client.mjs BASE_URL
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { VERSION } from 'openai/version';

const client = new OpenAI({ baseURL: process.argv[2], apiKey: 'none', maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const ask = { model, prompt: 'It was a dark', max_tokens: 24, seed: 3, temperature: 0.7 };
const text = (await client.completions.create(ask)).choices[0].text;
assert.ok(text.length > 0);
let streamed = '';
for await (const part of await client.completions.create({ ...ask, stream: true }))
  streamed += part.choices[0].text;
assert.equal(streamed, text);
await assert.rejects(client.completions.create({ ...ask, model: 'another' }),
  (e) => e instanceof OpenAI.NotFoundError && e.code === 'model_not_found');
// One that is given up leaves its place to the next.
const stream = await client.completions.create({ ...ask, max_tokens: 200, stream: true });
for await (const _ of stream) break;
const many = await Promise.all(Array.from({ length: 8 }, (_, i) =>
  client.completions.create({ ...ask, seed: i })));
assert.equal(many[3].choices[0].text, text);
let talked = 'no chat';
try {
  const messages = [{ role: 'user', content: 'Who are you?' }];
  const chat = await client.chat.completions.create({ model, messages, max_tokens: 24, seed: 3 });
  talked = `a chat: ${JSON.stringify(chat.choices[0].message.content)}`;
} catch (e) {
  assert.ok(e instanceof OpenAI.BadRequestError, e);
}
console.log(`openai ${VERSION} (npm): ${JSON.stringify(text)}; ${talked}`);
