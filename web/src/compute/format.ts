// Enters: numbers of the API. Leaves: short text for people, units always named, the same everywhere on the page.

const COUNT = new Intl.NumberFormat("en-US");
const ABSENT = "–";

/** `12,345` */
export function formatCount(count: number): string {
  return COUNT.format(count);
}

/** `1 counter`, `2 counters` */
export function formatNumbered(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** `950`, `12.3k`, `4.56M`: three digits, for tight places. */
export function formatCompact(count: number): string {
  for (const [bound, unit] of [
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    // 999,500 rounds up to the next unit, so that it never reads "1000k".
    if (Math.abs(count) >= bound * 0.9995) return `${threeDigits(count / bound)}${unit}`;
  }
  return Number.isInteger(count) ? String(count) : threeDigits(count);
}

function threeDigits(value: number): string {
  const size = Math.abs(value);
  const digits = size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
  return String(Number(value.toFixed(digits)));
}

/** `0.042 ms`, `4.21 ms`, `123 ms`, `1.23 s`, `2 m 05 s` */
export function formatDuration(duration_ms: number | null | undefined): string {
  if (duration_ms === null || duration_ms === undefined || !Number.isFinite(duration_ms)) return ABSENT;
  if (duration_ms === 0) return "0 ms";
  const size = Math.abs(duration_ms);
  if (size < 0.1) return `${Number(duration_ms.toFixed(3))} ms`;
  if (size < 999.5) return `${threeDigits(duration_ms)} ms`;
  if (size < 59_995) return `${threeDigits(duration_ms / 1000)} s`;
  const seconds = Math.round(size / 1000);
  const text = `${Math.floor(seconds / 60)} m ${String(seconds % 60).padStart(2, "0")} s`;
  return duration_ms < 0 ? `-${text}` : text;
}

/** A bare number of milliseconds for table columns whose head names the unit: `1,234`, `12.3`, `0.042`. */
export function formatMs(duration_ms: number | null | undefined): string {
  if (duration_ms === null || duration_ms === undefined || !Number.isFinite(duration_ms)) return ABSENT;
  const size = Math.abs(duration_ms);
  if (size >= 99.95) return COUNT.format(Math.round(duration_ms));
  return size >= 9.995
    ? duration_ms.toFixed(1)
    : size >= 0.1 || size === 0
      ? duration_ms.toFixed(2)
      : duration_ms.toFixed(3);
}

/** From a share 0..1: `0%`, `<0.1%`, `3.4%`, `42%`, `>99.9%`: never rounds something to nothing or almost all to all. */
export function formatShare(share: number): string {
  if (share <= 0) return "0%";
  if (share >= 1) return "100%";
  if (share < 0.001) return "<0.1%";
  if (share > 0.999) return ">99.9%";
  const percent = share * 100;
  return `${percent >= 9.95 && percent <= 99 ? Math.round(percent) : Number(percent.toFixed(1))}%`;
}

/** Calls a minute over a range: `61.7/min`. */
export function formatPerMinute(count: number, range_ms: number): string {
  if (range_ms <= 0) return ABSENT;
  return `${formatCompact(count / (range_ms / 60_000))}/min`;
}

export function formatBytes(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined) return ABSENT;
  let value = bytes;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (Math.abs(value) < 1000) return `${threeDigits(value)} ${unit}`;
    value /= 1024;
  }
  return `${threeDigits(value)} TiB`;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}

/** Local `2026-11-22` */
export function formatDate(time_ms: number): string {
  const time = new Date(time_ms);
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
}

/** Local `14:03:07.123`, or without the fraction. */
export function formatTime(time_ms: number, fraction = true): string {
  const time = new Date(time_ms);
  const seconds = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  return fraction ? `${seconds}.${String(time.getMilliseconds()).padStart(3, "0")}` : seconds;
}

/** Local `14:03` */
export function formatClock(time_ms: number): string {
  return formatTime(time_ms, false).slice(0, 5);
}

/** `22 Nov 14:03 – 14:08`, both dates when they differ. */
export function formatRange(from_ms: number, to_ms: number): string {
  const from = `${formatDate(from_ms)} ${formatTime(from_ms, false)}`;
  const sameDay = formatDate(from_ms) === formatDate(to_ms);
  const to = sameDay ? formatTime(to_ms, false) : `${formatDate(to_ms)} ${formatTime(to_ms, false)}`;
  return `${from} – ${to}`;
}

/** How long ago, roughly: `just now`, `42 s`, `12 min`, `3 h`, `5 d`. */
export function formatAge(age_ms: number): string {
  const seconds = Math.floor(age_ms / 1000);
  if (seconds < 2) return "just now";
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** For `<input type="datetime-local" step="1">`, local time. */
export function toInputTime(time_ms: number): string {
  return `${formatDate(time_ms)}T${formatTime(time_ms, false)}`;
}

/** Back from such an input; null when it is empty or not a time. */
export function fromInputTime(text: string): number | null {
  const time_ms = new Date(text).getTime();
  return text === "" || Number.isNaN(time_ms) ? null : time_ms;
}

/** A reason or counter name of the API in words: `ring_full_data` -> `ring full data`. */
export function formatReason(reason: string): string {
  return reason.replaceAll("_", " ");
}
