/** Python's `strftime` in its "C" locale, as far as chat templates use it: they tell the model the date. */

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  ...["January", "February", "March", "April", "May", "June"],
  ...["July", "August", "September", "October", "November", "December"],
];

const two = (value: number) => String(value).padStart(2, "0");

const DIRECTIVES: Readonly<Record<string, (date: Date) => string>> = {
  "%a": (date) => DAYS[date.getDay()]!.slice(0, 3),
  "%A": (date) => DAYS[date.getDay()]!,
  "%b": (date) => MONTHS[date.getMonth()]!.slice(0, 3),
  "%B": (date) => MONTHS[date.getMonth()]!,
  "%d": (date) => two(date.getDate()),
  "%H": (date) => two(date.getHours()),
  "%I": (date) => two(date.getHours() % 12 || 12),
  "%m": (date) => two(date.getMonth() + 1),
  "%M": (date) => two(date.getMinutes()),
  "%p": (date) => (date.getHours() < 12 ? "AM" : "PM"),
  "%S": (date) => two(date.getSeconds()),
  "%y": (date) => two(date.getFullYear() % 100),
  "%Y": (date) => String(date.getFullYear()).padStart(4, "0"),
  "%%": () => "%",
};

/**
 * @param date In local time.
 * @param format Directives that are not known stay as they are.
 */
export function strftime(date: Date, format: string): string {
  return format.replace(/%[A-Za-z%]/g, (directive) => DIRECTIVES[directive]?.(date) ?? directive);
}
