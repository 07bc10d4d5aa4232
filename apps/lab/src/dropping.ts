/** Files that are dropped on the page, with a sign of where they go while they are dragged. */

/** @param take Called with the files of each drop. */
export function watchDrops(take: (files: readonly File[]) => void): void {
  const { body } = document;
  const drag = (isDragging: boolean) => {
    body.dataset.dragging = `${isDragging}`;
  };
  body.ondragover = (event) => {
    event.preventDefault();
    drag(event.dataTransfer?.types.includes("Files") ?? false);
  };
  // Within the page a pointer leaves one element for another.
  body.ondragleave = (event) => drag(event.relatedTarget !== null);
  body.ondrop = (event) => {
    event.preventDefault();
    drag(false);
    take([...(event.dataTransfer?.files ?? [])]);
  };
}
