/** Elements of the page: found by their ids, and made from texts. */

/** The element of an id that the page has. */
export function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}
/** Terms and what they are, for a `dl`. */
export function definitions(rows: readonly (readonly [string, string])[]): HTMLElement[] {
  return rows.flatMap(([name, value]) => {
    const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
    dt.textContent = name;
    dd.textContent = value;
    return [dt, dd];
  });
}

/** A row of a table; `th`: of its head. */
export function tableRow(cells: readonly string[], kind: "td" | "th" = "td"): HTMLTableRowElement {
  const row = document.createElement("tr");
  row.append(
    ...cells.map((text) => {
      const cell = document.createElement(kind);
      cell.textContent = text;
      if (kind === "th") cell.setAttribute("scope", "col");
      return cell;
    }),
  );
  return row;
}

/** A square of a legend. */
export function swatch(colour: string): HTMLElement {
  const square = document.createElement("i");
  square.className = "swatch";
  square.style.background = colour;
  return square;
}
