#include "server/page.h"

namespace watersic {
namespace {

constexpr std::string_view kPage = R"page(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>watersic</title>
<link rel="icon" href="data:,">
<style>
:root {
  --back: #fbfbfa; --panel: #ffffff; --ink: #1d2327; --soft: #5d676f; --line: #d9dde0;
  --own: #e8eff6; --accent: #1f5f99; --on-accent: #ffffff; --bad: #a3261c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #15181b; --panel: #1d2125; --ink: #e4e7e9; --soft: #9aa5ad; --line: #363d43;
    --own: #22303d; --accent: #7cb4e6; --on-accent: #10202e; --bad: #f0938a;
  }
}
* { box-sizing: border-box; }
html, body { height: 100%; margin: 0; }
body {
  display: flex; flex-direction: column; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif;
}
header, main, form { width: 100%; max-width: 48rem; margin: 0 auto; padding: 0 1rem; }
header { display: flex; align-items: center; gap: .75rem; padding-top: .75rem; padding-bottom: .5rem; }
h1 {
  flex: 1; min-width: 0; margin: 0; font-size: 1rem; font-weight: 600;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
}
#scroll { flex: 1; min-height: 0; overflow-y: auto; border-top: 1px solid var(--line); }
main { padding-top: 1rem; padding-bottom: 1rem; }
.hint { color: var(--soft); }
article { margin: 0 0 1rem; }
article h2 { margin: 0; font-size: .8rem; font-weight: 600; color: var(--soft); }
article div { white-space: pre-wrap; overflow-wrap: anywhere; }
article.user div { background: var(--own); border-radius: .5rem; padding: .5rem .75rem; }
article .note { margin: .25rem 0 0; font-size: .85rem; color: var(--soft); }
article .bad { color: var(--bad); }
form { padding-top: .75rem; padding-bottom: 1rem; }
textarea, input {
  width: 100%; font: inherit; color: inherit; background: var(--panel);
  border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .75rem;
}
#said { display: block; resize: none; height: 4.6rem; }
.row { display: flex; align-items: center; gap: .75rem; margin-top: .5rem; }
.row .hint { flex: 1; font-size: .85rem; }
button {
  font: inherit; border-radius: .5rem; padding: .4rem 1rem; cursor: pointer;
  border: 1px solid var(--line); background: var(--panel); color: inherit;
}
button.main { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
button:disabled { opacity: .5; cursor: default; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
details { width: 100%; max-width: 48rem; margin: 0 auto; padding: 0 1rem .5rem; }
summary { color: var(--soft); font-size: .9rem; cursor: pointer; }
.fields { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .5rem .75rem; }
.fields .wide { grid-column: 1 / -1; }
label { display: block; font-size: .85rem; color: var(--soft); }
label input, label textarea { color: var(--ink); font-size: 1rem; }
</style>
</head>
<body>
<header>
  <h1 id="model">watersic</h1>
  <button type="button" id="fresh">New chat</button>
</header>
<details id="settings">
  <summary>Settings</summary>
  <div class="fields">
    <label class="wide">System message<textarea id="system" rows="2"></textarea></label>
    <label>Temperature<input id="temperature" inputmode="decimal" placeholder="the model's"></label>
    <label>Tokens at most<input id="tokens" inputmode="numeric" placeholder="what fits"></label>
    <label>Seed<input id="seed" inputmode="numeric" placeholder="any"></label>
    <label>API key<input id="key" type="password" autocomplete="off" placeholder="if one is asked for"></label>
  </div>
</details>
<div id="scroll">
  <main id="talk" aria-live="polite" aria-busy="false"><p class="hint" id="empty">Say something to the model.</p></main>
</div>
<form id="form">
  <textarea id="said" aria-label="What you say" placeholder="Message" autofocus></textarea>
  <div class="row">
    <span class="hint">Enter sends, Shift+Enter breaks the line, Esc stops</span>
    <button type="button" id="stop" hidden>Stop</button>
    <button type="submit" id="send" class="main">Send</button>
  </div>
</form>
<script>
'use strict';
const $ = id => document.getElementById(id);
const messages = [];
let running = null;

const headers = () => {
  const out = {'Content-Type': 'application/json'};
  if ($('key').value) out.Authorization = 'Bearer ' + $('key').value;
  return out;
};
const element = (tag, name, text) => {
  const out = document.createElement(tag);
  if (name) out.className = name;
  out.textContent = text;
  return out;
};
const atEnd = () => $('scroll').scrollHeight - $('scroll').scrollTop - $('scroll').clientHeight < 40;
const toEnd = () => { $('scroll').scrollTop = $('scroll').scrollHeight; };

function add(role, text) {
  $('empty').hidden = true;
  const article = element('article', role, '');
  const body = element('div', '', text);
  article.append(element('h2', '', role === 'user' ? 'You' : 'Model'), body);
  $('talk').append(article);
  return {article, body};
}
function note(article, text, bad) {
  article.append(element('p', bad ? 'note bad' : 'note', text));
}
async function said_error(response) {
  const text = await response.text();
  try { return JSON.parse(text).error.message; } catch { return 'HTTP ' + response.status; }
}
async function show_model() {
  try {
    const response = await fetch('v1/models', {headers: headers()});
    if (!response.ok) { $('settings').open = response.status === 401; return; }
    const name = (await response.json()).data[0].id;
    $('model').textContent = name;
    document.title = name;
  } catch { /* the next message will say it */ }
}
function request() {
  const all = messages.slice();
  if ($('system').value.trim()) all.unshift({role: 'system', content: $('system').value});
  const out = {messages: all, stream: true, stream_options: {include_usage: true}};
  const number = (id, field) => {
    const text = $(id).value.trim();
    if (text) out[field] = isNaN(Number(text)) ? text : Number(text);
  };
  number('temperature', 'temperature');
  number('tokens', 'max_tokens');
  number('seed', 'seed');
  return out;
}
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = '';
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    held += value;
    for (let end; (end = held.indexOf('\n\n')) >= 0; held = held.slice(end + 2)) {
      const line = held.slice(0, end);
      if (line.startsWith('data: ') && line !== 'data: [DONE]') yield JSON.parse(line.slice(6));
    }
  }
}
async function answer(shown, message) {
  const began = performance.now();
  const response = await fetch('v1/chat/completions',
    {method: 'POST', headers: headers(), body: JSON.stringify(request()), signal: running.signal});
  if (!response.ok) throw new Error(await said_error(response));
  messages.push(message);
  let first = 0, finish = '';
  for await (const event of events(response.body)) {
    if (event.error) throw new Error(event.error.message);
    const choice = event.choices[0];
    if (choice) {
      const text = choice.delta.content || '';
      if (text && !first) first = performance.now();
      const follow = atEnd();
      message.content += text;
      shown.body.textContent = message.content;
      if (follow) toEnd();
      finish = choice.finish_reason || finish;
    }
    if (event.usage && first) {
      const seconds = (performance.now() - first) / 1000, count = event.usage.completion_tokens;
      note(shown.article, `${count} tokens, ${(count / Math.max(seconds, .001)).toFixed(1)} a second; ` +
        `the first after ${((first - began) / 1000).toFixed(1)} s` +
        (finish === 'length' ? '; not ended by the model' : ''));
    }
  }
}
async function send() {
  const text = $('said').value;
  if (running || !text.trim()) return;
  const controller = new AbortController();
  running = {signal: controller.signal, stop: controller.abort.bind(controller)};
  $('said').value = '';
  $('send').disabled = true;
  $('stop').hidden = false;
  $('talk').setAttribute('aria-busy', 'true');
  const own = {role: 'user', content: text}, message = {role: 'assistant', content: ''};
  messages.push(own);
  add('user', text);
  const shown = add('assistant', '');
  toEnd();
  try {
    await answer(shown, message);
  } catch (error) {
    const stopped = error.name === 'AbortError';
    note(shown.article, stopped ? 'stopped' : error.message, !stopped);
    if (!messages.includes(own)) return done();  // another chat has begun
    // What got no answer is no part of the conversation; it can be sent again.
    if (!messages.includes(message) || !message.content) {
      messages.splice(messages.indexOf(own));
      if (!$('said').value) $('said').value = text;
    }
  }
  done();
}
function done() {
  running = null;
  $('send').disabled = false;
  $('stop').hidden = true;
  $('talk').setAttribute('aria-busy', 'false');
  toEnd();
  $('said').focus();
}
const stop = () => { if (running) running.stop(); };

$('form').addEventListener('submit', event => { event.preventDefault(); send(); });
$('said').addEventListener('keydown', event => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
});
document.addEventListener('keydown', event => { if (event.key === 'Escape') stop(); });
$('stop').addEventListener('click', stop);
$('fresh').addEventListener('click', () => {
  stop();
  messages.length = 0;
  for (const article of document.querySelectorAll('article')) article.remove();
  $('empty').hidden = false;
  $('said').focus();
});
$('key').addEventListener('change', show_model);
show_model();
</script>
</body>
</html>
)page";

}  // namespace

std::string_view chat_page() { return kPage; }

}  // namespace watersic
