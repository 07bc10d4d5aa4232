export interface GroupSample {
  readonly ms: number;
  readonly usageBytes: number;
  readonly residentBytes: number;
  readonly swapBytes: number;
}

export interface GroupRun {
  readonly status: number | null;
  readonly killed: number;
  readonly peakBytes: number;
  readonly samples: readonly GroupSample[];
  readonly stdout: string;
  readonly stderr: string;
}

export interface GroupRequest {
  readonly limitBytes: number;
  readonly command: string;
  readonly args: readonly string[];
  readonly sampleMs?: number;
}

export function memoryGroupsMissing(): string | null;
export function runInMemoryGroup(request: GroupRequest): Promise<GroupRun>;
