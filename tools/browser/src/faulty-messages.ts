/** In a worker, before its own code: takes the memory that says which reads go wrong. */
import { makeHandlesFail } from "./faulty-handles.js";

self.addEventListener("message", (event) => {
  if (!("faults" in event.data)) return;
  // The reader worker takes what it does not know for a memory.
  event.stopImmediatePropagation();
  makeHandlesFail(event.data.faults);
});
