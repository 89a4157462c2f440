// Stages along time: segments, and boundaries that can be dragged. Times are in frames.

const percent = (part, whole) => `${(part / whole) * 100}%`;

export class Timeline {
  // `moved(index, frame, last)` is told of a boundary's new place, `sought(frame)` of a click.
  constructor(place, track, playhead, frames, { moved, sought }) {
    Object.assign(this, { place, track, playhead, frames, moved, sought });
    this.boundaries = [];
    place.addEventListener('pointerdown', (event) => {
      if (event.target.classList.contains('boundary') || event.button !== 0) return;
      this.follow(event, (frame) => sought(frame));
    });
  }

  at(event) {
    const box = this.track.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    return Math.round(share * this.frames);
  }

  follow(event, told) {
    event.preventDefault();
    const target = event.target;
    target.setPointerCapture(event.pointerId);
    told(this.at(event), false);
    const move = (later) => told(this.at(later), false);
    const end = (later) => {
      target.removeEventListener('pointermove', move);
      target.removeEventListener('pointerup', end);
      target.removeEventListener('pointercancel', end);
      told(this.at(later), true);
    };
    target.addEventListener('pointermove', move);
    target.addEventListener('pointerup', end);
    target.addEventListener('pointercancel', end);
  }

  // Elements are kept where their number stays, so that one being dragged is not replaced.
  draw(bounds, texts, ending) {
    const segments = texts.map((text, index) => {
      const segment = document.createElement('div');
      segment.className = 'segment';
      segment.style.left = percent(bounds[index], this.frames);
      segment.style.width = percent(bounds[index + 1] - bounds[index], this.frames);
      segment.style.setProperty('--hue', (index * 67 + 205) % 360);
      segment.textContent = `${index + 1} ${text}`;
      return segment;
    });
    const last = bounds[bounds.length - 1];
    const rest = document.createElement('div');
    rest.className = 'ending';
    rest.style.left = percent(last, this.frames);
    rest.style.right = '0';
    rest.textContent = last < this.frames ? ending : '';
    this.track.replaceChildren(...segments, rest);
    while (this.boundaries.length > bounds.length) this.boundaries.pop().remove();
    while (this.boundaries.length < bounds.length) this.add(this.boundaries.length);
    bounds.forEach((frame, index) => {
      const button = this.boundaries[index];
      const said = index ? `End of stage ${index}` : 'Start of stage 1';
      button.style.left = percent(frame, this.frames);
      button.setAttribute('aria-label', `${said}, frame ${frame}`);
      button.title = said;
    });
  }

  add(index) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'boundary';
    button.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      event.stopPropagation();
      button.focus();
      this.follow(event, (frame, last) => this.moved(index, frame, last));
    });
    this.boundaries.push(button);
    this.place.append(button);
  }

  // The boundary that has the focus, or -1.
  focused() {
    return this.boundaries.indexOf(document.activeElement);
  }

  mark(frame, current) {
    this.playhead.style.left = percent(frame + 0.5, this.frames);
    [...this.track.querySelectorAll('.segment')].forEach((segment, index) => {
      segment.classList.toggle('current', index === current);
    });
  }
}
