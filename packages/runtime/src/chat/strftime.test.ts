import { expect, it } from "vitest";
import { strftime } from "./strftime.js";

it("writes what Python writes", () => {
  const date = new Date(2024, 0, 7, 0, 5, 9);
  expect(strftime(date, "%A %a %d %B %b %m %y %Y %H %I %M %S %p %% %Q")).toBe(
    "Sunday Sun 07 January Jan 01 24 2024 00 12 05 09 AM % %Q",
  );
  expect(strftime(new Date(2024, 11, 31, 15), "%I %p")).toBe("03 PM");
});
