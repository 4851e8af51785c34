// Reads a Bedplate bundle over HTTP: its contract, graph and golden rows, each file checked against the manifest.

const TYPES = { U8: Uint8Array, I32: Int32Array, I64: BigInt64Array, F32: Float32Array, F64: Float64Array };

const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

async function fetched(url) {
  const reply = await fetch(url, { cache: "no-store" });
  if (!reply.ok) throw new Error(`${url}: ${reply.status} ${reply.statusText}`);
  return reply.arrayBuffer();
}

/** Return {name: {data, shape}} of a safetensors file: an eight-byte length, JSON, then the numbers. */
export function tensors(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  delete header.__metadata__;
  return Object.fromEntries(
    Object.entries(header).map(([name, { dtype, shape, data_offsets: [from, to] }]) => {
      if (!(dtype in TYPES)) throw new Error(`${name}: tensors of ${dtype} aren't read here`);
      // A copy, since the numbers needn't begin at a multiple of their size.
      return [name, { data: new TYPES[dtype](buffer.slice(8 + length + from, 8 + length + to)), shape }];
    }),
  );
}

/** Return a bundle's contract, graph, golden rows and their sealed answers; throw where a file isn't as it was sealed. */
export async function openBundle(base, variant = "f32") {
  const raw = await fetched(new URL("manifest.json", base));
  const manifest = JSON.parse(new TextDecoder().decode(raw));
  const said = new TextDecoder().decode(await fetched(new URL("BUNDLE_ID", base))).trim();
  // Browsers have SHA-256 only on pages from localhost or over HTTPS.
  const verified = Boolean(globalThis.crypto?.subtle);
  const digest = async (data) => hex(await crypto.subtle.digest("SHA-256", data));
  if (verified && (await digest(raw)) !== said) throw new Error("the manifest isn't the one that was sealed");
  const read = async (name) => {
    const data = await fetched(new URL(name, base));
    if (verified && (await digest(data)) !== manifest.files[name].sha256)
      throw new Error(`'${name}' isn't the file that was sealed`);
    return data;
  };
  const { contract } = manifest;
  if (contract.codec.kind !== "image" || !contract.answers.labels || contract.codec.resize !== "stretch")
    throw new Error("this page takes image classifiers whose images are stretched to size");
  if (!(variant in manifest.variants)) throw new Error(`the bundle has no variant '${variant}'`);
  const golden = tensors(await read("golden.safetensors"));
  const { name, shape } = contract.inputs[0];
  return {
    name: manifest.name,
    id: said,
    verified,
    variant,
    input: name,
    output: contract.output,
    shape, // height, width, channels
    labels: contract.answers.labels,
    graph: new Uint8Array(await read(manifest.variants[variant].graph)),
    tolerance: { atol: 1e-4, rtol: 1e-3, ...manifest.variants[variant].tolerance },
    golden: { rows: golden[`inputs/${name}`], answers: golden[`outputs/${variant}/${contract.output}`] },
  };
}
