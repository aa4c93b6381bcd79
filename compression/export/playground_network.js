"use strict";
/* Runs models: layers of a plain list, one after the other, on one image. Knows nothing of the page, so that it also runs
 * without one.
 *
 * A model is {input: [C, H, W], profile, layers}; a layer is {kind, name, shape, ...}, shape being that of its output. Integer
 * and float models differ in three things only: the type of their arrays, what a border is filled with, and what becomes
 * of a sum. In a float model it is rounded to float32. In an integer model it goes back to int8; see `rescale`.
 */

const ARRAYS = {int8: Int8Array, int32: Int32Array, float32: Float32Array, uint8: Uint8Array};

/* {dtype, base64} -> typed array. The bytes are little-endian, as all browsers' typed arrays are. */
function decode(array) {
  const text = atob(array.base64);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  return new ARRAYS[array.dtype](bytes.buffer);
}

/* Return a model with its arrays decoded. */
function load(model) {
  const layers = model.layers.map((layer) => {
    const decoded = {...layer};
    for (const name of ["weight", "bias", "multiplier", "shift"]) {
      if (layer[name]) decoded[name] = decode(layer[name]);
    }
    return decoded;
  });
  return {...model, layers};
}

/* sum * multiplier / 2**31, rounded to the nearest integer, ties toward +infinity.
 *
 * The product has up to 62 bits, and numbers of JavaScript hold integers up to 53 bits. So the multiplier, which has 31 bits,
 * is split: multiplier = high * 2**16 + low. sum * high has less than 47 bits, sum * low less than 48. What the lower
 * product contributes beyond its 16 last bits is carried into the higher one. Each step is exact.
 */
function highMul(sum, multiplier) {
  const high = multiplier >>> 16, low = multiplier & 0xffff;
  const carry = Math.floor((sum * low + 2 ** 30) / 2 ** 16);
  return Math.floor((sum * high + carry) / 2 ** 15);
}

/* x / 2**exponent for exponents 0 to 31, rounded to the nearest integer, ties away from zero. */
function divideByPowerOfTwo(x, exponent) {
  const mask = 2 ** exponent - 1;
  const threshold = (mask >> 1) + (x < 0 ? 1 : 0);
  const whole = Math.floor(x / 2 ** exponent);
  return whole + ((x & mask) > threshold ? 1 : 0);
}

/* The three ways to multiply a sum by M, a real number written as integers. minigrad's `integer/arithmetic.py` has them in
 * Python, and says where they come from.
 */
const RESCALE = {
  // Rounded twice, as TensorFlow Lite does: to the upper 32 bits of the doubled product, and by what the shift drops.
  tflite(sum, multiplier, shift) {
    const left = Math.max(shift, 0), right = Math.max(-shift, 0);
    return divideByPowerOfTwo(highMul(sum * 2 ** left, multiplier), right);
  },

  // Rounded once, ties toward +infinity. The halves are those of `highMul`; the last 16 bits of the product decide nothing
  // where 17 or more are dropped. Where fewer are, a result near int8's range comes of a product below 2**53, which is
  // exact as it is; and what lies far beyond is clamped, exact or not.
  single(sum, multiplier, shift) {
    const bits = 31 - shift;
    if (bits < 17) return Math.floor(sum * multiplier / 2 ** bits + 0.5);
    const upper = sum * (multiplier >>> 16) + Math.floor(sum * (multiplier & 0xffff) / 2 ** 16);
    return Math.floor((upper + 2 ** (bits - 17)) / 2 ** (bits - 16));
  },

  // In float32, as onnxruntime does: sum and product rounded to 24 bits, the result half to even.
  onnx(sum, multiplier, shift) {
    const product = Math.fround(Math.fround(sum) * Math.fround(multiplier * 2 ** shift));
    const whole = Math.floor(product), rest = product - whole;
    return whole + (rest > 0.5 || (rest === 0.5 && whole % 2 !== 0) ? 1 : 0);
  },
};

function clamp(value, low = -Infinity, high = Infinity) {
  return value < low ? low : value > high ? high : value;
}

/* Return what a sum of output channel f becomes: of an integer layer an int8; of a float layer it is kept, ReLU apart. */
function output(layer, profile, f, sum) {
  if (!layer.multiplier) return clamp(sum, layer.low, layer.high);
  const scaled = RESCALE[profile](sum, layer.multiplier[f], layer.shift[f]);
  return clamp(scaled + layer.output_zero, layer.low, layer.high);
}

/* Call visit(place in x, or -1 outside of the image) for each place of a window of channel c. */
function visitWindow(layer, [, height, width], c, row, column, visit) {
  const [kh, kw] = layer.kernel, [dy, dx] = layer.dilation ?? [1, 1];
  const top = row * layer.stride[0] - layer.padding[0], left = column * layer.stride[1] - layer.padding[1];
  for (let i = 0; i < kh; i++) {
    for (let j = 0; j < kw; j++) {
      const r = top + i * dy, k = left + j * dx;
      const inside = r >= 0 && r < height && k >= 0 && k < width;
      visit(inside ? (c * height + r) * width + k : -1);
    }
  }
}

/* Call write(channel, row, column) for each element of an image, in the order of memory. */
function eachPlace([channels, rows, columns], write) {
  for (let c = 0; c < channels; c++) {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) write(c, row, column);
    }
  }
}

const LAYERS = {
  conv(layer, x, shape, y, profile) {
    const perGroup = layer.shape[0] / layer.groups, channels = shape[0] / layer.groups;
    const taps = channels * layer.kernel[0] * layer.kernel[1];
    let place = 0;
    eachPlace(layer.shape, (f, row, column) => {
      const first = Math.floor(f / perGroup) * channels;
      let sum = layer.bias[f], w = f * taps;
      for (let c = first; c < first + channels; c++) {
        visitWindow(layer, shape, c, row, column, (at) => {
          sum += layer.weight[w++] * (at < 0 ? layer.pad_value : x[at]);
        });
      }
      y[place++] = output(layer, profile, f, sum);
    });
  },

  linear(layer, x, shape, y, profile) {
    for (let f = 0, w = 0; f < y.length; f++) {
      let sum = layer.bias[f];
      for (let i = 0; i < x.length; i++) sum += layer.weight[w++] * x[i];
      y[f] = output(layer, profile, f, sum);
    }
  },

  max_pool(layer, x, shape, y) {
    let place = 0;
    eachPlace(layer.shape, (c, row, column) => {
      let largest = x instanceof Int8Array ? -128 : -Infinity;
      visitWindow(layer, shape, c, row, column, (at) => {
        if (at >= 0 && x[at] > largest) largest = x[at];
      });
      y[place++] = clamp(largest, layer.low, layer.high);
    });
  },

  avg_pool(layer, x, shape, y) {
    const count = layer.kernel[0] * layer.kernel[1];
    let place = 0;
    eachPlace(layer.shape, (c, row, column) => {
      let sum = 0;
      visitWindow(layer, shape, c, row, column, (at) => { sum += at < 0 ? 0 : x[at]; });
      const mean = x instanceof Int8Array ? Math.sign(sum) * Math.floor(Math.abs(sum) / count + 0.5) : sum / count;
      y[place++] = clamp(mean, layer.low, layer.high);
    });
  },

  flatten(layer, x, shape, y) {
    x.forEach((value, i) => { y[i] = clamp(value, layer.low, layer.high); });
  },
};

/* Return what the first layer takes: p - 128 in integers, or the normalised pixels in float32. */
function prepare(model, pixels) {
  if (model.profile) return Int8Array.from(pixels, (p) => p - 128);
  const {mean, std} = model;
  return Float32Array.from(pixels, (p) => (p / 255 - mean) / std);
}

/* Run a model on one image, Uint8Array of C * H * W pixels, 0 to 255. Returns the outputs of all layers, a typed array each. */
function run(model, pixels) {
  const size = model.input[0] * model.input[1] * model.input[2];
  if (!(pixels instanceof Uint8Array) || pixels.length !== size) {
    throw new TypeError(`run: expected a Uint8Array of ${size} pixels, 0 to 255`);
  }
  let x = prepare(model, pixels), shape = model.input;
  return model.layers.map((layer) => {
    const y = new x.constructor(layer.shape.reduce((product, n) => product * n, 1));
    LAYERS[layer.kind](layer, x, shape, y, model.profile);
    x = y;
    shape = layer.shape;
    return y;
  });
}

/* Return integers of a layer's output as the real numbers they stand for; floats as they are. */
function realValues(layer, values) {
  return layer.scale ? Float32Array.from(values, (q) => layer.scale * (q - layer.zero)) : values;
}

/* Probabilities at temperature T: softmax(logits / T). */
function softTargets(logits, temperature) {
  const largest = Math.max(...logits);
  const powers = Array.from(logits, (z) => Math.exp((z - largest) / temperature));
  const total = powers.reduce((sum, p) => sum + p, 0);
  return powers.map((p) => p / total);
}

/* Bring a drawing into MNIST's form: crop to the ink, scale its longer side to 20 pixels, and place its centre of mass in the
 * middle of 28 x 28.
 *
 * ink: Uint8Array of side * side values, 0 where nothing was drawn. Returns Uint8Array(784); all zeros if nothing was.
 */
function frame(ink, side) {
  const out = new Uint8Array(28 * 28), strongest = ink.reduce((a, b) => Math.max(a, b), 0);
  let top = side, bottom = -1, left = side, right = -1;
  for (let at = 0; at < ink.length; at++) {
    if (ink[at] <= 0.15 * strongest) continue;  // fringes
    const row = Math.floor(at / side), column = at % side;
    top = Math.min(top, row), bottom = Math.max(bottom, row);
    left = Math.min(left, column), right = Math.max(right, column);
  }
  if (bottom < 0) return out;
  const step = Math.max(bottom - top + 1, right - left + 1) / 20;
  const rows = Math.max(1, Math.round((bottom - top + 1) / step));
  const columns = Math.max(1, Math.round((right - left + 1) / step));
  const small = new Float64Array(rows * columns);
  let mass = 0, massRow = 0, massColumn = 0;
  eachPlace([1, rows, columns], (_, row, column) => {
    const value = meanInk(ink, side, top + row * step, left + column * step, step);
    small[row * columns + column] = value * 255 / strongest;
    mass += value, massRow += value * row, massColumn += value * column;
  });
  const down = clamp(Math.round(13.5 - massRow / mass), 0, 28 - rows);
  const across = clamp(Math.round(13.5 - massColumn / mass), 0, 28 - columns);
  eachPlace([1, rows, columns], (_, row, column) => {
    out[(row + down) * 28 + column + across] = Math.round(clamp(small[row * columns + column], 0, 255));
  });
  return out;
}

/* Mean of the ink in a square, pixels at its edge counted by the part that lies in it. */
function meanInk(ink, side, top, left, size) {
  let total = 0;
  for (let r = Math.floor(top); r < Math.min(top + size, side); r++) {
    const height = Math.min(r + 1, top + size) - Math.max(r, top);
    for (let k = Math.floor(left); k < Math.min(left + size, side); k++) {
      total += height * (Math.min(k + 1, left + size) - Math.max(k, left)) * ink[r * side + k];
    }
  }
  return total / size ** 2;
}
