#include "engine/network.h"

#include <algorithm>

namespace watersic {

void Network::use(const Operators& operators) {
  operators_ = &operators;
  for (const auto& block : blocks_) block->operators = &operators;
}

int64_t Network::independent_tokens() const {
  int64_t least = std::min(embedding_->independent_tokens(), head_->independent_tokens());
  for (const auto& block : blocks_)
    for (const auto& layer : block->linear) least = std::min(least, layer->independent_tokens());
  return least;
}

int64_t Network::weight_bytes() const {
  int64_t bytes = embedding_->bytes() + static_cast<int64_t>(sizeof(float) * final_norm_.size());
  if (head_ != embedding_) bytes += head_->bytes();
  for (const auto& block : blocks_) bytes += block->bytes();
  return bytes;
}

Matrix<float> Network::embed(ThreadPool& pool, std::span<const int32_t> ids) const {
  check_ids(config_, ids);
  return embedding_->rows(pool, ids);
}

Matrix<float> Network::logits(ThreadPool& pool, MatrixView<const float> X) const {
  Matrix<float> normed(X.rows(), X.cols()), logits(X.rows(), config_.vocabulary);
  by_rows(pool, X.rows(), [&](int64_t i) {
    operators_->rms_norm(X.row(i), final_norm_, config_.norm_epsilon, normed.row(i));
  });
  if (X.rows() > 0) head_->apply(pool, X.rows(), normed, 0, logits);
  return logits;
}

Network make_network(const Context& context, const ModelConfig& config, const WeightSource& source,
                     const MakeLayerFn& make) {
  Network network;
  network.config_ = config;
  network.embedding_ = make(kEmbedding, "");
  network.final_norm_ = source.vector(kFinalNorm);
  network.head_ = config.tied_embeddings ? network.embedding_ : make(kHead, "");
  for (int64_t index = 0; index < config.blocks; ++index) {
    auto block = std::make_shared<LayerBlock>();
    block->block = index;
    load_norms(config, source, *block);
    for (const LinearSite& site : linear_sites(config, index))
      block->linear[static_cast<size_t>(site.linear)] =
          make(site.name, site.bias ? site.bias_name() : "");
    network.blocks_.push_back(std::move(block));
    context.tell("loading", "blocks", index + 1, config.blocks);
  }
  return network;
}

Network dense_network(const Context& context, const ModelConfig& config,
                      const WeightSource& source) {
  const auto dense = [&](const std::string& weight, const std::string& bias) {
    return std::make_shared<DenseLayer>(source.matrix(weight),
                                        bias.empty() ? std::vector<float>() : source.vector(bias));
  };
  return make_network(context, config, source, dense);
}

}  // namespace watersic
