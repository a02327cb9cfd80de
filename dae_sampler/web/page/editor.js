// The picture that is drawn on, and the mask of what is hidden; by pointer or by keyboard.

const MASK = '#ff4fa3'
const MOST_UNDO = 30

export class Editor {
  constructor(picture, mask, cursor, changed, begun) {
    this.picture = picture.getContext('2d', { willReadFrequently: true })
    this.mask = mask.getContext('2d', { willReadFrequently: true })
    this.cursor = cursor.getContext('2d')
    this.canvas = cursor
    this.changed = changed
    this.begun = begun
    this.brush = 'draw'
    this.colour = '#ffffff'
    this.size = 2
    this.past = []
    this.at = null
    cursor.addEventListener('pointerdown', (event) => this.press(event))
    cursor.addEventListener('pointermove', (event) => this.move(event))
    for (const end of ['pointerup', 'pointercancel']) cursor.addEventListener(end, () => this.lift())
    cursor.addEventListener('pointerleave', () => this.point(null))
    cursor.addEventListener('blur', () => this.point(null))
    cursor.addEventListener('keydown', (event) => this.key(event))
  }

  get width() { return this.canvas.width }
  get height() { return this.canvas.height }

  resize(width, height) {
    for (const context of [this.picture, this.mask, this.cursor]) {
      context.canvas.width = width
      context.canvas.height = height
    }
    const easel = this.canvas.parentElement
    easel.style.setProperty('--aspect', width / height)
    easel.classList.toggle('small', width < 200)
    this.fill('#000000')
    this.past = []
    this.at = null
  }

  fill(colour) {
    this.picture.fillStyle = colour
    this.picture.fillRect(0, 0, this.width, this.height)
  }

  put(image) { // a picture in place of this one, of any size
    if (image.width !== this.width || image.height !== this.height) this.resize(image.width, image.height)
    else this.remember()
    this.picture.drawImage(image, 0, 0)
    this.changed()
  }

  remember() {
    this.begun()
    const all = [0, 0, this.width, this.height]
    this.past.push([this.picture.getImageData(...all), this.mask.getImageData(...all)])
    if (this.past.length > MOST_UNDO || this.width * this.height * this.past.length > 2 ** 25) this.past.shift()
  }

  undo() {
    const last = this.past.pop()
    if (!last) return
    this.picture.putImageData(last[0], 0, 0)
    this.mask.putImageData(last[1], 0, 0)
    this.changed()
  }

  clear() {
    this.remember()
    this.fill('#000000')
    this.mask.clearRect(0, 0, this.width, this.height)
    this.changed()
  }

  invert() {
    this.remember()
    this.picture.globalCompositeOperation = 'difference'
    this.fill('#ffffff')
    this.picture.globalCompositeOperation = 'source-over'
    this.changed()
  }

  hide(half) {
    this.remember()
    const [w, h] = [this.width, this.height]
    const [middleX, middleY] = [w >> 1, h >> 1]
    const parts = { left: [0, 0, middleX, h], right: [w - middleX, 0, middleX, h],
      top: [0, 0, w, middleY], bottom: [0, h - middleY, w, middleY] }
    this.mask.clearRect(0, 0, w, h)
    this.mask.fillStyle = MASK
    if (parts[half]) this.mask.fillRect(...parts[half])
    this.changed()
  }

  get hidden() { // whether the mask hides anything
    return this.mask.getImageData(0, 0, this.width, this.height).data.some((value, i) => i % 4 === 3 && value > 127)
  }

  pictureUrl() { return this.picture.canvas.toDataURL('image/png') }

  maskUrl() { // white where hidden
    const pixels = this.mask.getImageData(0, 0, this.width, this.height)
    for (let i = 0; i < pixels.data.length; i += 4) {
      pixels.data.fill(pixels.data[i + 3] > 127 ? 255 : 0, i, i + 3)
      pixels.data[i + 3] = 255
    }
    const canvas = document.createElement('canvas')
    canvas.width = this.width
    canvas.height = this.height
    canvas.getContext('2d').putImageData(pixels, 0, 0)
    return canvas.toDataURL('image/png')
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect()
    return [(event.clientX - box.left) * this.width / box.width, (event.clientY - box.top) * this.height / box.height]
  }

  press(event) {
    if (event.button) return
    this.canvas.setPointerCapture(event.pointerId)
    this.remember()
    this.from = this.place(event)
    this.stroke(this.from)
  }

  move(event) {
    this.point(this.place(event))
    if (!this.from) return
    for (const part of event.getCoalescedEvents?.() || [event]) this.stroke(this.place(part))
  }

  lift() {
    if (!this.from) return
    this.from = null
    this.changed()
  }

  stroke(to) {
    const onMask = this.brush === 'hide' || this.brush === 'show'
    const context = onMask ? this.mask : this.picture
    context.globalCompositeOperation = this.brush === 'show' ? 'destination-out' : 'source-over'
    context.strokeStyle = onMask ? MASK : this.brush === 'erase' ? '#000000' : this.colour
    context.lineWidth = this.size * (onMask ? 2 : 1)
    context.lineCap = context.lineJoin = 'round'
    context.beginPath()
    context.moveTo(...(this.from || to))
    context.lineTo(to[0], to[1] + 0.01) // a dot is a line too
    context.stroke()
    context.globalCompositeOperation = 'source-over'
    if (this.from) this.from = to
  }

  point(at) { // where the brush is
    this.at = at
    this.cursor.clearRect(0, 0, this.width, this.height)
    if (!at || document.activeElement !== this.canvas || this.from) return
    this.cursor.fillStyle = '#ff9e33'
    this.cursor.fillRect(Math.floor(at[0]), Math.floor(at[1]), Math.ceil(this.width / 64), Math.ceil(this.width / 64))
  }

  key(event) {
    const by = (event.shiftKey ? 5 : 1) * Math.max(1, this.width / 64)
    const moves = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] }
    const at = this.at || [this.width / 2, this.height / 2]
    if (moves[event.key]) {
      const to = [0, 1].map((i) => Math.min(Math.max(at[i] + moves[event.key][i], 0), [this.width, this.height][i] - 1))
      this.point(to)
    } else if (event.key === ' ') {
      if (!event.repeat) this.remember()
      this.stroke(at)
      this.point(at)
      this.changed()
    } else return
    event.preventDefault()
  }
}
