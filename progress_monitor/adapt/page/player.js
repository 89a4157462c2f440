// The cameras' pictures, frame by frame and at speed.

const KEPT = 400;
const AHEAD = 12;

export class Player {
  constructor(recording, place, changed) {
    this.fps = recording.fps;
    this.frames = recording.frames;
    this.frame = 0;
    this.speed = 1;
    this.playing = false;
    this.changed = changed;
    this.id = recording.id;
    this.loaded = new Map();
    this.canvases = recording.cameras.map((camera) => {
      const figure = document.createElement('figure');
      const canvas = document.createElement('canvas');
      canvas.width = camera.width;
      canvas.height = camera.height;
      const caption = document.createElement('figcaption');
      caption.textContent = camera.name;
      figure.append(canvas, caption);
      place.append(figure);
      return canvas;
    });
  }

  // A picture, asked for once and kept for a while.
  picture(camera, frame) {
    const key = `${camera}/${frame}`;
    let image = this.loaded.get(key);
    if (image) {
      this.loaded.delete(key);
    } else {
      image = new Image();
      image.addEventListener('load', () => {
        if (frame === this.frame) this.draw();
      });
      image.src = `frames/${camera}/${frame}.jpg?${this.id}`;
    }
    this.loaded.set(key, image);
    if (this.loaded.size > KEPT) this.loaded.delete(this.loaded.keys().next().value);
    return image;
  }

  ready(frame) {
    return this.canvases.every((_, camera) => this.picture(camera, frame).complete);
  }

  // What is not there yet is drawn when it comes; until then the last picture stays.
  draw() {
    this.canvases.forEach((canvas, camera) => {
      const image = this.picture(camera, this.frame);
      if (image.complete && image.naturalWidth) {
        canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
      }
    });
  }

  show(frame) {
    this.frame = Math.min(Math.max(Math.round(frame), 0), this.frames - 1);
    this.draw();
    this.changed();
  }

  step(count) {
    this.pause();
    this.show(this.frame + count);
  }

  toggle() {
    if (this.playing) this.pause(); else this.play();
  }

  pause() {
    this.playing = false;
    this.changed();
  }

  play() {
    if (this.frame >= this.frames - 1) this.frame = 0;
    this.playing = true;
    let position = this.frame;
    let before = performance.now();
    const tick = (now) => {
      if (!this.playing) return;
      const wanted = position + (now - before) / 1000 * this.fps * this.speed;
      for (let ahead = 1; ahead <= AHEAD; ahead += 1) {
        const frame = Math.round(wanted + ahead * Math.max(1, this.speed / 2));
        if (frame < this.frames) this.canvases.forEach((_, camera) => this.picture(camera, frame));
      }
      before = now;
      const shown = Math.min(Math.floor(wanted), this.frames - 1);
      // Playing waits for a picture that is late rather than skipping what it shows.
      if (shown === this.frame || this.ready(shown)) {
        position = wanted;
        if (shown !== this.frame) this.show(shown);
        if (shown >= this.frames - 1) { this.pause(); return; }
      }
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    this.changed();
  }
}
