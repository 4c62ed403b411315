/** The search for codes: a beam of sums of code vectors. */

/**
 * The codes of one frame: at every stage, the `width` best sums go on; the best of the last stage wins.
 *
 * latent: Float32Array [dim]. books: [{ vectors: Float32Array [code * dim], halfNorms: Float64Array [code] }].
 * Returns an array of a code for each book.
 */
export function search(latent, books, width) {
  let beam = [{ residual: latent, path: [], error: halfNorm(latent) }];
  for (const book of books) beam = extended(book, beam, width);
  return beam[0].path;
}

/** A codebook [code, dim] as `search` takes it. */
export function bookOf(vectors, dim) {
  const halfNorms = new Float64Array(vectors.length / dim);
  for (let code = 0; code < halfNorms.length; code++) {
    halfNorms[code] = halfNorm(vectors.subarray(code * dim, (code + 1) * dim));
  }
  return { vectors, halfNorms };
}

/** The best continuations of candidates by a code of this book, best first, the earlier one on a tie. */
function extended({ vectors, halfNorms }, beam, width) {
  const best = []; // { error, parent, code }, lowest error first
  for (const parent of beam) {
    const { residual } = parent;
    const dim = residual.length;
    for (let code = 0, row = 0; code < halfNorms.length; code++, row += dim) {
      const error = parent.error + halfNorms[code] - product(residual, vectors, row, dim);
      if (best.length < width || error < best[best.length - 1].error) insert(best, { error, parent, code }, width);
    }
  }
  return best.map(({ parent, code }) => {
    const row = code * parent.residual.length;
    const residual = parent.residual.map((value, place) => value - vectors[row + place]);
    return { residual, path: [...parent.path, code], error: halfNorm(residual) };
  });
}

function insert(best, found, width) {
  let place = best.length;
  while (place > 0 && found.error < best[place - 1].error) place--;
  best.splice(place, 0, found);
  if (best.length > width) best.pop();
}

/** Four sums side by side, which do not wait for each other; dim is a multiple of 4 or the rest is added alone. */
function product(x, vectors, row, dim) {
  let a = 0, b = 0, c = 0, d = 0;
  let place = 0;
  for (; place + 3 < dim; place += 4) {
    a += x[place] * vectors[row + place];
    b += x[place + 1] * vectors[row + place + 1];
    c += x[place + 2] * vectors[row + place + 2];
    d += x[place + 3] * vectors[row + place + 3];
  }
  for (; place < dim; place++) a += x[place] * vectors[row + place];
  return a + b + c + d;
}

function halfNorm(x) {
  let sum = 0;
  for (const value of x) sum += value * value;
  return sum / 2;
}
