/** A reader worker of the private file system whose reads go wrong when they are told to. */
// In this order: messages come to the first one first.
import "./faulty-messages.js";
import "../../../packages/flash-io/src/opfs/opfs-reader-worker.js";
