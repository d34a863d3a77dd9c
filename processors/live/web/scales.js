// From numbers to pixels: ticks at round numbers, and lines thinned to what pixels can show.

/** Return ticks at multiples of 1, 2 or 5 that hold ``[least, greatest]``, some *count* of them, and their step. */
export function niceTicks(least, greatest, count) {
  if (!(greatest > least)) {
    const pad = Math.abs(least) || 1;
    [least, greatest] = least === 0 ? [0, 1] : [least - pad / 2, greatest + pad / 2];
  }
  const raw = (greatest - least) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw * 0.9999999) ?? 10 * power;
  const first = Math.floor(least / step + 1e-9);
  const last = Math.ceil(greatest / step - 1e-9);
  // So far from 0 that doubles have no round numbers between: counting up would never end.
  const isFine = step > 0 && Math.max(Math.abs(first), Math.abs(last)) < 2 ** 50 && last - first <= 100;
  if (!isFine) return { ticks: [least, greatest], step: greatest - least };
  const ticks = [];
  for (let at = first; at <= last; at += 1) ticks.push(at * step);
  return { ticks, step };
}

/** Return the least and greatest of all numbers in *columns* (Float64Arrays); null where there is none. */
export function extent(columns) {
  let least = Infinity;
  let greatest = -Infinity;
  for (const values of columns) {
    for (let at = 0; at < values.length; at += 1) {
      const value = values[at];
      if (value < least) least = value;
      if (value > greatest) greatest = value;
    }
  }
  return least <= greatest ? [least, greatest] : null;
}

/**
 * Return which of `values[first..last]` are drawn, as indexes in order: of each pixel column the first, least, greatest and
 * last. *xOf(n)* gives the n-th's pixel. NaN is kept where it breaks a line. So no peak is lost, and no column has more.
 */
export function thinned(values, first, last, xOf) {
  const kept = [];
  const many = last - first > 2 * Math.abs(xOf(last) - xOf(first));
  if (!many) {
    for (let at = first; at <= last; at += 1) kept.push(at);
    return kept;
  }
  for (let at = first; at <= last; ) {
    if (Number.isNaN(values[at])) {
      if (kept.length === 0 || !Number.isNaN(values[kept.at(-1)])) kept.push(at);
      at += 1;
      continue;
    }
    const column = Math.floor(xOf(at));
    let [end, low, high] = [at, at, at];
    while (end + 1 <= last && !Number.isNaN(values[end + 1]) && Math.floor(xOf(end + 1)) === column) {
      end += 1;
      if (values[end] < values[low]) low = end;
      if (values[end] > values[high]) high = end;
    }
    for (const each of new Set([at, Math.min(low, high), Math.max(low, high), end])) kept.push(each);
    at = end + 1;
  }
  return kept;
}
