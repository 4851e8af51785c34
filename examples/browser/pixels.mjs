// An image's pixels as Bedplate's codec makes them: white behind what is transparent, Pillow's grey, Pillow's resize.

const clip = (value) => Math.min(255, Math.max(0, Math.round(value)));

/** Return, for each output pixel, which inputs make it and with what weights: a triangle as wide as the shrinking. */
function windows(from, to) {
  const scale = from / to;
  const reach = Math.max(scale, 1);
  return Array.from({ length: to }, (_, k) => {
    const centre = (k + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const last = Math.min(from, Math.floor(centre + reach + 0.5));
    const weights = [];
    for (let x = first; x < last; x++) weights.push(Math.max(0, 1 - Math.abs((x - centre + 0.5) / reach)));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/** Resize 8-bit pixels [height, width, channels] with Pillow's bilinear filter, rows first, rounding after each pass. */
export function resized(pixels, [height, width, channels], [tall, wide]) {
  const across = new Uint8ClampedArray(height * wide * channels);
  windows(width, wide).forEach(({ first, weights }, x) => {
    for (let y = 0; y < height; y++)
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        weights.forEach((weight, k) => (sum += weight * pixels[(y * width + first + k) * channels + c]));
        across[(y * wide + x) * channels + c] = clip(sum);
      }
  });
  const out = new Uint8Array(tall * wide * channels);
  windows(height, tall).forEach(({ first, weights }, y) => {
    for (let x = 0; x < wide; x++)
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        weights.forEach((weight, k) => (sum += weight * across[((first + k) * wide + x) * channels + c]));
        out[(y * wide + x) * channels + c] = clip(sum);
      }
  });
  return out;
}

/** Return a canvas's pixels as uint8 [height, width, channels] of the wanted shape. */
export function pixelsOf(canvas, [tall, wide, channels]) {
  const { width, height } = canvas;
  const rgba = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  const plain = new Uint8Array(width * height * channels);
  for (let k = 0; k < width * height; k++) {
    const [r, g, b] = rgba.subarray(4 * k, 4 * k + 3);
    if (channels === 1) plain[k] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16;
    else plain.set([r, g, b], 3 * k);
  }
  return width === wide && height === tall ? plain : resized(plain, [height, width, channels], [tall, wide]);
}

/** Return an image file on a canvas of the image's own size, on white. */
export async function canvasOf(file) {
  const image = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, image.width, image.height);
  context.drawImage(image, 0, 0);
  return canvas;
}
