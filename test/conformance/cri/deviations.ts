/** What is known to differ, by `topic: name`, with the reason. */
export type Deviations = Readonly<Record<string, string>>;

/** Debian's containerd (1.6), the control: what fails there as well as here is the machine's, not ours. */
export const containerdDeviations: Deviations = {};
