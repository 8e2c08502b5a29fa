// Files of runs and evaluations that hold everything the report can show, with values that look like
// those of real runs and are the same every time.

// Numbers in [0, 1), from a multiplicative generator.
function generator(seed) {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

const quantiles = (values) => {
  values.sort((a, b) => a - b);
  return Array.from({ length: 33 }, (_, i) => values[Math.floor((values.length - 1) * i / 32)]);
};

const kinds = [['self_attn.q_proj', 2048, 2048], ['self_attn.k_proj', 512, 2048],
  ['self_attn.v_proj', 512, 2048], ['self_attn.o_proj', 2048, 2048], ['mlp.gate_proj', 8192, 2048],
  ['mlp.up_proj', 8192, 2048], ['mlp.down_proj', 2048, 8192]];

export function run({ method = 'watersic', bits = 2, id, blocks = 6, model = 'models/sample', kept = false }) {
  const random = generator(1 + Math.round(1000 * bits) + blocks);
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const bit_count = file => ({ file, coded: file - 0.02, side: 0.02, pooled_entropy: file + 0.1, paper_rate: file + 0.2 });
  const gap = method === 'watersic' ? 0.1 : 0.5;
  const layers = [];
  for (let block = 0; block < blocks; ++block) {
    const e_q = random(), e_a = random();
    kinds.forEach(([name, rows, cols], kind) => {
      const many = scale => Array.from({ length: 300 }, () => scale(normal()));
      const layer = {
        name: `model.layers.${block}.${name}.weight`, rows, cols, kept: false, target_bits: bits,
        bits: bit_count(bits + 0.003 * normal()), distortion: 1e-6 * Math.exp(normal()),
        relative_distortion: 2 ** (-2 * bits) * Math.exp(0.4 * normal()), dead: kind, damping: 1e-4,
        step: 0.01, seconds: 0.3 + random(), limit_bits: bits - gap - 0.1 * random(), gap: gap + 0.08 * random(),
        sensitivity: Math.exp(1.5 * normal()),
        capture_error: block === 0 && kind < 3 ? 0 : 0.001 * (block + 1) * [1, 1, 1, 3, 2, 2, 5][kind],
        column_bits: quantiles(many(z => Math.max(0, bits + 0.3 * z))),
      };
      if (method === 'watersic') {
        layer.row_scales = quantiles(many(z => 1 + 0.05 * z));
        layer.column_factors = quantiles(many(z => 1 - 0.05 * Math.abs(z)));
        if (kind < 3) {
          const error = (q, a) => 0.002 * (1 + (q - e_q) ** 2 + (a - e_a) ** 2);
          layer.mixing = { e_q, e_a, points: [[0, 0], [1, 0], [e_q, 0], [e_q, 1], [e_q, e_a]]
            .map(([q, a]) => ({ e_q: q, e_a: a, error: error(q, a) })) };
        }
      }
      layers.push(layer);
    });
  }
  if (kept) layers.push({ name: 'lm_head.weight', rows: 100, cols: 2048, kept: true, bits: bit_count(16),
    target_bits: 16, capture_error: 0, seconds: 0 });
  const weights = blocks * kinds.reduce((sum, [, rows, cols]) => sum + rows * cols, 0);
  return {
    schema: 'watersic.run/1', model, output: `out/${id}.wsic`, model_id: id, version: '0.1.0',
    options: { method, bits, trellis: null, calibration: { source: 'text', samples: 128 }, keep: [] },
    totals: { bits: bit_count(bits), target_bits: bits, quantized_weights: weights,
      file_bytes: Math.round(weights * bits / 8 + 4e6), kept_bytes: 4000000, seconds: 200 + 3000 * random() },
    stages: ['calibration text', 'statistics', 'limits', 'quantizing', 'writing'].map(
      stage => ({ stage, seconds: 60 * random(), peak_bytes: Math.round(4e9 * (0.5 + random())) })),
    outliers: [{ block: 1, row: 17, ratio: 321.5 }], layers,
  };
}

export function evaluation({ id, kl_bits, text = '998373a4abd35194', statistics = true, model }) {
  const spread = scale => Object.fromEntries(
    [['maximum', 9], ['p99_9', 5], ['p99', 4], ['p95', 3], ['p90', 2], ['p75', 1], ['median', 0], ['p25', -1],
     ['p10', -2], ['p5', -3], ['p1', -4], ['p0_1', -5], ['minimum', -9]].map(([name, z]) => [name, scale(z)]));
  const near = value => ({ value, error: 0.01 * Math.abs(value) });
  const perplexity = 9.76 * Math.exp(0.7 * kl_bits), nll = Math.log(perplexity);
  const e = {
    schema: 'watersic.eval/1', model: model ?? `out/${id}.wsic`, model_id: id, convention: 'hf', context: 2048,
    windows: 140, tokens: 286580, text_hash: text, nll, perplexity,
    bits_per_byte: 0.27 * nll, seconds: 900, reference: 'models/sample', reference_id: 'original',
    reference_perplexity: 9.76, kl_bits, top1: 1 - 0.6 * Math.sqrt(kl_bits) / 2,
  };
  if (statistics) e.kl_statistics = {
    unit: 'nats', kl: near(kl_bits * Math.LN2), kl_percentiles: spread(z => kl_bits * Math.exp(0.6 * z)),
    perplexity: near(e.perplexity), reference_perplexity: near(9.76), ln_perplexity_ratio: near(0.02),
    perplexity_ratio: near(1.02), perplexity_difference: near(0.2), correlation: 0.998, delta_p: near(-0.001),
    delta_p_rms: near(0.02), delta_p_percentiles: spread(z => 0.01 * z), same_top: near(e.top1),
  };
  return e;
}

export function task({ id, name = 'mmlu' }) {
  const metrics = base => Object.fromEntries(['acc', 'acc_norm', 'acc_bytes', 'acc_tokens'].flatMap(
    (metric, i) => [[metric, base + 0.02 * i], [`${metric}_stderr`, 0.0047]]));
  return { schema: 'watersic.task/1', task: name, model: `out/${id}.wsic`, model_id: id,
    reference: 'models/sample', reference_id: 'original', data: 'data', prompts_hash: 'feed', shots: 5,
    questions: 14042, ...metrics(0.45), reference_accuracy: metrics(0.47), agreement: metrics(0.9), seconds: 80,
    groups: ['anatomy', 'high_school_european_history', 'virology'].map(
      (subject, i) => ({ name: subject, questions: 100 + i, ...metrics(0.3 + 0.1 * i) })) };
}

// Text that would run, or break the page, if it were taken for markup.
export const evil = '"><img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>\'&amp;';

// Name of a page to its files.
export function studies() {
  const sweep = [];
  for (const [method, factor] of [['watersic', 1], ['huffman-gptq', 1.6], ['gptq', 5]]) {
    for (const bits of [1, 1.5, 2, 3, 4]) {
      const id = `${method}-${bits}`;
      sweep.push(run({ method, bits, id }), evaluation({ id, kl_bits: factor * 2 ** (-2 * bits) }), task({ id }));
    }
  }
  const hostile = [run({ id: evil, method: evil }), run({ id: 'b', method: evil, bits: 3 }),
    evaluation({ id: evil, kl_bits: 0.1 }), task({ id: evil, name: evil })];
  Object.assign(hostile[0], { model: evil, output: evil, version: evil });
  hostile[0].layers[0].name = evil;
  hostile[0].layers[1].name = `model.layers.1.${evil.repeat(3)}`;
  hostile[0].stages[0].stage = evil;
  hostile[0].options[evil] = evil;
  Object.assign(hostile[2], { convention: evil, text_hash: evil });
  hostile[2].kl_statistics.unit = evil;
  hostile[2].kl_statistics[evil] = 1;
  const bare = run({ id: 'bare' });
  for (const layer of bare.layers)
    for (const field of ['limit_bits', 'gap', 'sensitivity', 'capture_error', 'column_bits', 'row_scales',
      'column_factors', 'mixing']) delete layer[field];
  return {
    one: [run({ id: 'a', kept: true }), evaluation({ id: 'a', kl_bits: 0.0161 }), task({ id: 'a' })],
    sweep,
    large: [run({ id: 'a', blocks: 48, model: 'models/sample-14b' }), evaluation({ id: 'a', kl_bits: 0.005 })],
    bare: [bare],
    evaluations: [evaluation({ id: 'a', kl_bits: 0.1 }), evaluation({ id: 'b', kl_bits: 0.2, statistics: false })],
    texts: [run({ id: 'a' }), run({ id: 'b', bits: 3 }), evaluation({ id: 'a', kl_bits: 0.1 }),
      evaluation({ id: 'b', kl_bits: 0.02 }), evaluation({ id: 'a', kl_bits: 0.3, text: 'another text' }),
      evaluation({ id: 'original', kl_bits: 0, model: 'models/sample' })],
    hostile,
  };
}
