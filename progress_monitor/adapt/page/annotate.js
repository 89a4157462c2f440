// The page: what is said of the recording, and the ways to say it.

import { Player } from './player.js';
import { Timeline } from './timeline.js';

const MOST_STAGES = 64;
const find = (id) => document.getElementById(id);

const recording = await (await fetch('recording.json')).json();
const { fps, frames } = recording;

// Boundaries are numbers of frames: stage i holds frames bounds[i] to bounds[i + 1] - 1.
let state = {
  bounds: [0, frames],
  texts: [''],
};
let saved = true;
const past = [];

const player = new Player(recording, find('cameras'), showPlace);
const timeline = new Timeline(find('timeline'), find('track'), find('playhead'), frames, {
  moved: dragBoundary,
  sought: (frame) => { player.pause(); player.show(frame); },
});

function say(text, kind = '') {
  find('status').textContent = text;
  find('status').className = kind;
}

function snapshot() {
  return JSON.stringify({
    ...state,
    task: find('task').value,
    done: find('done').checked,
    reason: find('reason').value,
  });
}

function restore(text) {
  const { bounds, texts, task, done, reason } = JSON.parse(text);
  state = { bounds, texts };
  find('task').value = task;
  find(done ? 'done' : 'failed').checked = true;
  find('reason').value = reason;
}

// Remember what was, so that it can be had back; `before` is a snapshot from before the change.
function changed(before) {
  if (before !== undefined && before !== past[past.length - 1]) past.push(before);
  if (past.length > 200) past.shift();
  saved = false;
  say('not saved');
  draw();
}

function change(action) {
  const before = snapshot();
  action();
  changed(before);
}

function undo() {
  if (!past.length) return;
  restore(past.pop());
  changed();
}

function stageAt(frame) {
  return state.texts.findIndex((_, i) => state.bounds[i] <= frame && frame < state.bounds[i + 1]);
}

function clampBoundary(index, frame) {
  const { bounds } = state;
  const lowest = index ? bounds[index - 1] + 1 : 0;
  const highest = index < bounds.length - 1 ? bounds[index + 1] - 1 : frames;
  return Math.min(Math.max(frame, lowest), highest);
}

let dragged;
function dragBoundary(index, frame, last) {
  dragged ??= snapshot();
  state.bounds[index] = clampBoundary(index, frame);
  player.pause();
  player.show(Math.min(state.bounds[index], frames - 1));
  if (last) {
    if (dragged !== snapshot()) changed(dragged);
    dragged = undefined;
  }
  draw();
}

function nudge(index, count) {
  change(() => { state.bounds[index] = clampBoundary(index, state.bounds[index] + count); });
  player.pause();
  player.show(Math.min(state.bounds[index], frames - 1));
}

function cut() {
  const frame = player.frame;
  const index = stageAt(frame);
  if (index < 0 || frame === state.bounds[index]) {
    say('go to a frame inside a stage to cut it there', 'bad');
  } else if (state.texts.length >= MOST_STAGES) {
    say(`there are ${MOST_STAGES} stages; no more can be held`, 'bad');
  } else {
    change(() => {
      state.bounds.splice(index + 1, 0, frame);
      state.texts.splice(index + 1, 0, '');
    });
  }
}

// The boundary before a stage goes; the first has none, so the one after it goes.
function remove(index) {
  if (state.texts.length < 2) return;
  change(() => {
    const kept = Math.max(index - 1, 0);
    const text = state.texts[kept] || state.texts[kept + 1];
    state.texts.splice(kept, 2, text);
    state.bounds.splice(kept + 1, 1);
  });
}

function toBoundary(direction) {
  const places = direction > 0 ? state.bounds : [...state.bounds].reverse();
  const found = places.find((frame) => (frame - player.frame) * direction > 0);
  if (found !== undefined) { player.pause(); player.show(found); }
}

function take(stages) {
  const first = Math.min(Math.round(stages[0].start_s * fps), frames - 1);
  const bounds = [first];
  for (const stage of stages) {
    bounds.push(Math.min(Math.max(Math.round(stage.end_s * fps), bounds.at(-1) + 1), frames));
  }
  state = { bounds, texts: stages.map((stage) => stage.text) };
}

async function post(path, body) {
  const answer = await fetch(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

async function propose(model) {
  const buttons = [find('propose'), find('ask')];
  buttons.forEach((button) => { button.disabled = true; });
  say(model ? 'the model watches the recording; this may take minutes' : 'looking for changes');
  try {
    const body = { model, task: find('task').value, stages: find('wanted').valueAsNumber || 0 };
    const { stages } = await post('proposal', body);
    change(() => take(stages));
    say(`${stages.length} proposed: correct the boundaries and describe each stage`);
  } catch (error) {
    say(error.message, 'bad');
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
  }
}

async function save() {
  const missing = state.texts.findIndex((text) => !text.trim());
  if (!find('task').value.trim()) {
    say('say what the task is', 'bad');
    find('task').focus();
    return;
  }
  if (missing >= 0) {
    say(`describe stage ${missing + 1}`, 'bad');
    document.querySelectorAll('#stages input')[missing].focus();
    return;
  }
  const sent = snapshot();
  try {
    const { saved: path } = await post('annotation', {
      task: find('task').value.trim(),
      stages: state.texts.map((text, i) => ({
        text: text.trim(), start_s: state.bounds[i] / fps, end_s: state.bounds[i + 1] / fps,
      })),
      done: find('done').checked,
      reason: find('reason').value.trim(),
    });
    saved = sent === snapshot();
    say(saved ? `saved to ${path}` : 'not saved', saved ? 'good' : '');
  } catch (error) {
    say(error.message, 'bad');
  }
}

const seconds = (frame) => (frame / fps).toFixed(2);

function row(index) {
  const item = document.createElement('li');
  const number = document.createElement('span');
  number.className = 'number';
  const text = document.createElement('input');
  text.type = 'text';
  text.maxLength = 2000;
  text.autocomplete = 'off';
  text.placeholder = 'what is done in this stage?';
  text.setAttribute('aria-label', `Description of stage ${index + 1}`);
  let before;
  text.addEventListener('focus', () => {
    before = snapshot();
    if (stageAt(player.frame) !== index) { player.pause(); player.show(state.bounds[index]); }
  });
  text.addEventListener('input', () => {
    state.texts[index] = text.value;
    changed(before);
  });
  text.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return;
    const following = document.querySelectorAll('#stages input')[index + 1];
    if (following) following.focus(); else text.blur();
  });
  const gone = document.createElement('button');
  gone.type = 'button';
  gone.textContent = 'Merge';
  gone.title = index ? 'Make one of this stage and the one before' : 'Make one of this and the next';
  gone.addEventListener('click', () => remove(index));
  const times = document.createElement('span');
  times.className = 'times';
  item.append(number, text, gone, times);
  item.style.setProperty('--hue', (index * 67 + 205) % 360);
  return item;
}

// Rows stay where they are while their number does, so that the field being typed in stays.
function draw() {
  const list = find('stages');
  while (list.children.length > state.texts.length) list.lastChild.remove();
  while (list.children.length < state.texts.length) list.append(row(list.children.length));
  [...list.children].forEach((item, i) => {
    const [number, text, gone, times] = item.children;
    number.textContent = i + 1;
    if (text.value !== state.texts[i]) text.value = state.texts[i];
    text.classList.toggle('missing', !state.texts[i].trim());
    gone.disabled = state.texts.length < 2;
    const [start, end] = [state.bounds[i], state.bounds[i + 1]];
    times.textContent = `${seconds(start)} to ${seconds(end)} s, frames ${start} to ${end - 1}`;
  });
  const done = find('done').checked;
  timeline.draw(state.bounds, state.texts, done ? 'done' : 'not done');
  const rest = frames - state.bounds.at(-1);
  find('reason').placeholder = done ? 'by what one sees it (may be empty)' : 'why it is not done';
  find('note').textContent = rest
    ? `The last ${(rest / fps).toFixed(2)} s show how it ends: ${done ? 'done' : 'not done'}.`
    : 'No frame is left after the last stage. Let it end where its action ends, so that some show '
      + 'how the task looks then.';
  find('undo').disabled = !past.length;
  showPlace();
}

function showPlace() {
  const current = stageAt(player.frame);
  timeline.mark(player.frame, current);
  find('clock').textContent =
    `${seconds(player.frame)} of ${seconds(frames)} s, frame ${player.frame}`;
  find('play').textContent = player.playing ? 'Pause' : 'Play';
  [...find('stages').children].forEach((item, i) => item.classList.toggle('current', i === current));
}

function setSpeed(steps) {
  const choice = find('speed');
  choice.selectedIndex = Math.min(Math.max(choice.selectedIndex + steps, 0), choice.length - 1);
  player.speed = Number(choice.value);
}

const KEYS = {
  ' ': () => player.toggle(),
  ArrowLeft: (event) => player.step(event.shiftKey ? -Math.round(fps) : -1),
  ArrowRight: (event) => player.step(event.shiftKey ? Math.round(fps) : 1),
  Home: () => { player.pause(); player.show(0); },
  End: () => { player.pause(); player.show(frames - 1); },
  '[': () => toBoundary(-1),
  ']': () => toBoundary(1),
  s: cut,
  S: cut,
  '-': () => setSpeed(-1),
  '+': () => setSpeed(1),
  '=': () => setSpeed(1),
};

document.addEventListener('keydown', (event) => {
  const field = event.target.matches('input[type=text], input[type=number], select');
  if (event.ctrlKey || event.metaKey) {
    if (event.key === 's') { event.preventDefault(); save(); }
    if (event.key === 'z' && !field) { event.preventDefault(); undo(); }
    return;
  }
  if (event.key === 'Escape') { event.target.blur(); return; }
  if (field || event.altKey) return;
  const boundary = timeline.focused();
  if (boundary >= 0 && (event.key === 'ArrowLeft' || event.key === 'ArrowRight')) {
    event.preventDefault();
    const count = event.shiftKey ? Math.round(fps) : 1;
    nudge(boundary, event.key === 'ArrowLeft' ? -count : count);
    return;
  }
  // A button that has the focus keeps the space bar.
  if (event.key === ' ' && event.target.matches('button:not(.boundary), summary')) return;
  const action = KEYS[event.key];
  if (action && !event.target.matches('input[type=radio]')) {
    event.preventDefault();
    action(event);
  }
});

find('play').addEventListener('click', () => player.toggle());
find('previous').addEventListener('click', () => player.step(-1));
find('next').addEventListener('click', () => player.step(1));
find('speed').addEventListener('change', () => setSpeed(0));
find('cut').addEventListener('click', cut);
find('propose').addEventListener('click', () => propose(false));
find('ask').addEventListener('click', () => propose(true));
find('undo').addEventListener('click', undo);
find('save').addEventListener('click', save);
for (const id of ['task', 'reason']) {
  let before;
  find(id).addEventListener('focus', () => { before = snapshot(); });
  find(id).addEventListener('input', () => changed(before));
}
for (const id of ['done', 'failed']) {
  find(id).addEventListener('change', () => {
    changed(JSON.stringify({ ...JSON.parse(snapshot()), done: !find('done').checked }));
  });
}
window.addEventListener('beforeunload', (event) => { if (!saved) event.preventDefault(); });

find('task').value = recording.task;
find('ask').hidden = !recording.model;
find(recording.done ? 'done' : 'failed').checked = true;
find('reason').value = recording.reason;
if (recording.stages.length) take(recording.stages);
draw();
player.show(0);
document.body.dataset.ready = 'yes';
