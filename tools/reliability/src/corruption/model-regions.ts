/** Where the parts of a model file lie, who reads each, and what of them can change places. */
import { COLUMN_STAGES, columnCounts, IntegrityError, rowBytes } from "@flashwick/core";
import {
  checksOf,
  columnsOf,
  crcOfBytes,
  damagedTensor,
  decodeGgufHeader,
  layerTensors,
  type ModelFile,
  type ResidentTensor,
  readColumnChecksums,
  readExpertChecksums,
  readRecordChecksums,
  readResidentTensor,
  recordLayout,
  verifyModelFile,
} from "@flashwick/flash-format";
import type { CheckedUnits } from "./checked-units.js";
import type { Exchange, Judge, Region } from "./damage.js";

/** Bytes of a sector: what a misdirected write puts in another place. */
const SECTOR_BYTES = 512;

/** A part of the file with what reads it. */
export type Part = Omit<Region, "isWhole" | "ignored">;

export function headerOf(bytes: Uint8Array, name: string, open: () => Promise<unknown>): Region {
  const { headerBytes } = decodeGgufHeader(bytes, name);
  return {
    name: "header",
    begin: 0,
    end: headerBytes,
    judges: [{ finder: "open", judge: open }],
    isWhole: true,
    ignored: null,
  };
}

export async function expectGood(file: ModelFile): Promise<void> {
  const { ok, bad } = await verifyModelFile(file);
  if (!ok) throw new IntegrityError("INTEGRITY_TENSOR", JSON.stringify(bad[0]));
}

export async function residentParts(file: ModelFile): Promise<Part[]> {
  const { tensors, records, experts, geometry, placement } = file.header;
  const residents = [...tensors.values()].flatMap((tensor) => {
    const judges: Judge[] = [{ finder: "read", judge: () => readResident(file, tensor) }];
    const { offset, sizeBytes, scales } = tensor;
    const own = { name: "resident tensors", begin: offset, end: offset + sizeBytes, judges };
    return scales ? [own, { ...own, begin: scales.offset, end: scales.offset + scales.sizeBytes }] : [own];
  });
  const checksums = records.map(({ layer, crcOffset }) => ({
    ...{ name: "checksums of records", begin: crcOffset, end: crcOffset + 4 * geometry.layers[layer]!.ffn.dFf },
    judges: [{ finder: "read" as const, judge: () => readRecordChecksums(file, layer) }],
  }));
  const ofColumns = columnRows(file.header).map(({ layer, stage, count, crcOffset }) => ({
    ...{ name: "checksums of columns", begin: crcOffset, end: crcOffset + 4 * count },
    judges: [{ finder: "read" as const, judge: () => readColumnChecksums(file, layer, stage) }],
  }));
  const ofExperts = experts.flatMap((of, layer) =>
    of?.recordChecks
      ? [
          {
            ...{
              name: "checksums of experts",
              begin: of.recordChecks.crcOffset,
              end: of.recordChecks.crcOffset + 4 * of.count,
            },
            judges: [{ finder: "read" as const, judge: () => readExpertChecksums(file, layer) }],
          },
        ]
      : [],
  );
  const verify: Judge = { finder: "verify", judge: () => expectGood(file) };
  const placements = (placement ?? []).map(({ offset, sizeBytes }) => ({
    ...{ name: "placement", begin: offset, end: offset + sizeBytes, judges: [verify] },
  }));
  return [...residents, ...checksums, ...ofColumns, ...ofExperts, ...placements];
}

/** Both kinds of columns of every layer; none where there are no columns. */
function columnRows(header: ModelFile["header"]) {
  const weights = columnsOf(header);
  const { dModel, layers } = header.geometry;
  return header.columns.flatMap((tensors, layer) =>
    COLUMN_STAGES.map((stage) => ({
      ...{ layer, stage, ...tensors[stage] },
      count: columnCounts(dModel, layers[layer]!)[stage],
      strideBytes: weights![stage].strideBytes,
    })),
  );
}

export function columnParts({ header }: ModelFile, units: CheckedUnits): Part[] {
  return columnRows(header).map(({ layer, stage, offset: begin, count, strideBytes }) => ({
    ...{ name: "columns", begin, end: begin + count * strideBytes },
    judges: [
      {
        finder: "read" as const,
        judge: (at: number) => units.checkColumn(layer, stage, Math.floor((at - begin) / strideBytes)),
      },
    ],
  }));
}

async function readResident(file: ModelFile, tensor: ResidentTensor): Promise<void> {
  const scales = tensor.scales && new Uint8Array(tensor.scales.sizeBytes);
  await readResidentTensor(file, tensor, new Uint8Array(tensor.sizeBytes), scales);
}

export function recordParts({ header }: ModelFile, units: CheckedUnits): Part[] {
  if (header.records.length === 0) return [];
  const { strideBytes } = recordLayout(header);
  return header.records.flatMap(({ layer, offset, downOffset }) => {
    const sizeBytes = header.geometry.layers[layer]!.ffn.dFf * strideBytes;
    return [offset, ...(downOffset === null ? [] : [downOffset])].map((begin) => ({
      ...{ name: "records", begin, end: begin + sizeBytes },
      judges: [
        {
          finder: "read" as const,
          judge: (at: number) => units.checkRecord(layer, Math.floor((at - begin) / strideBytes)),
        },
      ],
    }));
  });
}

export function expertParts({ header }: ModelFile, units: CheckedUnits): Part[] {
  return header.experts.flatMap((tensors, layer) => {
    if (!tensors) return [];
    const { count, matrices, recordChecks } = tensors;
    const stretches = recordChecks ? matrices.slice(0, 1) : matrices;
    return stretches.map(({ offset: begin, strideBytes }) => ({
      ...{ name: "experts", begin, end: begin + count * strideBytes },
      judges: [
        {
          finder: "read" as const,
          judge: (at: number) => units.checkExpert(layer, Math.floor((at - begin) / strideBytes)),
        },
      ],
    }));
  });
}

/** Tensors of a file of llama.cpp's, in groups of bytes. */
export function matrixParts({ header, source }: ModelFile, bytes: Uint8Array): Part[] {
  return [...header.tensors.values(), ...layerTensors(header)].map((tensor) => {
    const { offset, sizeBytes, name } = tensor;
    const judge = () => {
      const found = crcOfBytes(bytes.subarray(offset, offset + sizeBytes));
      checksOf(header, tensor)!.take(0, sizeBytes, found, (at) => {
        throw damagedTensor(source, name, at);
      });
    };
    return { name: "tensors", begin: offset, end: offset + sizeBytes, judges: [{ finder: "read", judge }] };
  });
}

/** Parts in order, and what lies between them. */
export function withGaps(
  file: ModelFile,
  bytes: Uint8Array,
  parts: readonly Part[],
  name: string,
  judges: readonly Judge[],
  ignored: string | null,
): Region[] {
  const regions: Region[] = [];
  let at = decodeGgufHeader(bytes, file.source.name).headerBytes;
  const gap = (end: number) => {
    if (end > at) regions.push({ name, begin: at, end, judges, isWhole: false, ignored });
  };
  for (const part of parts.toSorted((a, b) => a.begin - b.begin)) {
    gap(part.begin);
    regions.push({ ...part, isWhole: false, ignored: null });
    at = part.end;
  }
  gap(bytes.length);
  return regions;
}

export function boundariesOf({ header }: ModelFile, parts: readonly Part[]): number[] {
  const ends = parts.flatMap(({ begin, end }) => [begin, end]);
  return [
    0,
    header.dataOffset,
    ...ends,
    ...unitsOf(header).flatMap(({ begins, strideBytes }) => begins.map((at) => at + strideBytes)),
  ];
}

/** Records or experts: stretches that stand in a row and are read one by one. */
function unitsOf(
  header: ModelFile["header"],
): { readonly strideBytes: number; readonly begins: number[]; readonly what: string }[] {
  const rows = (what: string, offset: number, strideBytes: number, count: number) => ({
    ...{ what, strideBytes, begins: Array.from({ length: count }, (_, i) => offset + i * strideBytes) },
  });
  const records = header.records.flatMap(({ layer, offset, downOffset }) =>
    [offset, ...(downOffset === null ? [] : [downOffset])].map((at) =>
      rows(`records of layer ${layer}`, at, recordLayout(header).strideBytes, header.geometry.layers[layer]!.ffn.dFf),
    ),
  );
  const experts = header.experts.flatMap((of, layer) =>
    (of?.recordChecks ? of.matrices.slice(0, 1) : (of?.matrices ?? [])).map(({ offset, strideBytes, role }) =>
      rows(`experts of layer ${layer}, ${role}`, offset, strideBytes, of!.count),
    ),
  );
  const columns = columnRows(header).map(({ layer, stage, offset, count, strideBytes }) =>
    rows(`${stage} of layer ${layer}`, offset, strideBytes, count),
  );
  return [...records, ...columns, ...experts, ...tensorRows(header)];
}

/** Rows of matrices that are streamed. */
function tensorRows(header: ModelFile["header"]) {
  return layerTensors(header).map(({ name, offset, dtype, rows, cols }) => {
    const strideBytes = rowBytes(dtype, cols);
    return {
      what: `rows of ${name}`,
      strideBytes,
      begins: Array.from({ length: rows }, (_, i) => offset + i * strideBytes),
    };
  });
}

/** Neighbours change places; and each is put in the place of the same one of the next layer. */
export function unitExchanges({ header }: ModelFile): Exchange[] {
  const units = unitsOf(header);
  return units.flatMap(({ what, strideBytes: sizeBytes, begins }, i) => {
    const next = units.slice(i + 1).find((other) => other.strideBytes === sizeBytes);
    const neighbours = begins
      .slice(1)
      .map((to, j) => ({ what: `${what} ${j} and ${j + 1}`, from: begins[j]!, to, sizeBytes, isCopy: false }));
    const ofOthers = (next?.begins ?? []).flatMap((to, j) =>
      begins[j] === undefined
        ? []
        : [{ what: `${what} ${j} as ${next!.what} ${j}`, from: begins[j]!, to, sizeBytes, isCopy: true }],
    );
    return [...neighbours, ...ofOthers];
  });
}

/** What was written to one sector is in another one. */
export function sectorExchanges({ header: { dataOffset } }: ModelFile, fileBytes: number): Exchange[] {
  const count = Math.floor((fileBytes - dataOffset) / SECTOR_BYTES);
  return Array.from({ length: count }, (_, i) => ({
    what: `sector ${i}`,
    from: dataOffset + i * SECTOR_BYTES,
    // A stride that shares no factor with most numbers of sectors.
    to: dataOffset + ((7919 * (i + 1)) % count) * SECTOR_BYTES,
    ...{ sizeBytes: SECTOR_BYTES, isCopy: true },
  }));
}
