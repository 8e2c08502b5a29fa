#include "pipeline/rates.h"

#include <fmt/format.h>

#include <algorithm>

#include "encode/encode_layer.h"
#include "pipeline/embeddings.h"
#include "pipeline/quantized_matrix.h"
#include "pipeline/stage.h"
#include "watersic/error.h"

namespace watersic {
namespace {

// What is left of a file of this size for `weights` of the layers, once all else is in it.
SharedBits bits_for_size(const ModelConfig& config, const std::vector<std::vector<LayerPlan>>& plan,
                         const ModelFile& file, const QuantizeOptions& options, int64_t weights) {
  // Besides what is quantized, be that at which rate it may, and what has a rate of its own.
  QuantizeOptions any = options;
  resolve_embedding_bits(config, open_embedding_bits(options, 1), any);
  int64_t rest = file.other_bytes(quantized_names(plan, plan_embeddings(config, any)));
  for (const EmbeddingPlan& matrix : plan_embeddings(config, options))
    rest += static_cast<int64_t>(matrix.options.bits * static_cast<double>(matrix.weights()) / 8);
  const SharedBits out =
      bits_in_file(config, options, 8 * static_cast<double>(options.file_size - rest), weights);
  if (!(out.layers >= 0.05)) {
    throw Error(
        fmt::format("file size: expected more than {} bytes, which the tokenizer and the tensors "
                    "that are kept in 16 bits or have bits of their own take, found {}",
                    rest, options.file_size));
  }
  return out;
}

}  // namespace

Rates settle_rates(ThreadPool& pool, const ModelConfig& config,
                   const std::vector<std::vector<LayerPlan>>& plan, const ModelFile& file,
                   QuantizeOptions& options) {
  Rates out;
  for (const auto& block : plan) {
    for (const LayerPlan& layer : block) {
      out.weights += layer.weights();
      if (!layer.fixed) continue;
      out.fixed_weights += layer.weights();
      out.fixed_bits +=
          (layer.keep ? 16 : layer.options.bits) * static_cast<double>(layer.weights());
    }
  }
  if (options.file_size > 0 && out.fixed_weights == out.weights)
    throw Error("file size: every layer has a rate of its own, nothing is left to choose");
  const bool open_embedding = !options.embedding_bits, open_head = !options.head_bits;
  SharedBits bits{.layers = options.bits, .if_open = open_embedding_bits(options, options.bits)};
  if (options.file_size > 0) bits = bits_for_size(config, plan, file, options, out.weights);
  out.target = bits.layers;
  resolve_embedding_bits(config, bits.if_open, options);
  const bool by_gradients = options.model.allocation == Allocation::kGradient;
  for (const EmbeddingPlan& matrix : plan_embeddings(config, options)) {
    const double needed = minimum_bits(pool, matrix.rows, matrix.cols, matrix.options, stored_size);
    if (matrix.options.bits < needed)
      throw Error(
          fmt::format("{}: {:.3f} bits a weight can't be met: its side information alone needs "
                      "{:.3f}",
                      matrix.name, matrix.options.bits, needed));
    const bool open = matrix.tied        ? open_embedding && open_head
                      : matrix.is_head() ? open_head
                                         : open_embedding;
    if (open && by_gradients) out.open.push_back(matrix.name);
  }
  return out;
}

std::vector<double> least_shares(ThreadPool& pool, const std::vector<std::vector<LayerPlan>>& plan,
                                 double bits) {
  LeastBits least(pool);
  std::vector<double> out;
  for (const auto& block : plan)
    for (const LayerPlan& layer : block)
      if (!layer.fixed) out.push_back(1.1 * least(layer, bits));
  return out;
}

void settle_open(const ModelConfig& config, const std::vector<LayerSensitivity>& shares,
                 bool counted, QuantizeOptions& options, Rates& rates) {
  const size_t layers = shares.size() - rates.open.size();
  for (size_t i = layers; i < shares.size(); ++i) {
    const double share = std::min(shares[i].share, kMostEmbeddingBits);
    if (shares[i].name == kEmbedding) options.embedding_bits = share;
    if (shares[i].name == kHead || config.tied_embeddings) options.head_bits = share;
  }
  if (!counted) return;
  double spent = rates.fixed_bits, weights = 0;
  for (size_t i = 0; i < layers; ++i) {
    spent += shares[i].share * static_cast<double>(shares[i].weights);
    weights += static_cast<double>(shares[i].weights);
  }
  rates.target = spent / (weights + static_cast<double>(rates.fixed_weights));
}

void set_shares(const std::vector<LayerSensitivity>& shares, double bits,
                std::vector<std::vector<LayerPlan>>& plan) {
  size_t next = 0;
  for (auto& block : plan) {
    for (LayerPlan& layer : block) {
      if (layer.fixed) continue;
      layer.sensitivity = shares.at(next).sensitivity();
      layer.offset = shares.at(next++).share - bits;
    }
  }
}

}  // namespace watersic
