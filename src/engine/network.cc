#include "engine/network.h"

namespace watersic {

void Network::use(const Operators& with) {
  operators = &with;
  for (LayerBlock& block : blocks) block.operators = &with;
}

int64_t Network::weight_bytes() const {
  int64_t bytes = embedding->bytes() + static_cast<int64_t>(sizeof(float) * final_norm.size());
  if (head != embedding) bytes += head->bytes();
  for (const LayerBlock& block : blocks) bytes += block.bytes();
  return bytes;
}

Network make_network(const ModelConfig& config, const WeightSource& source, const MakeLayerFn& make,
                     const ProgressFn& progress) {
  Network network{.config = config, .embedding = make(kEmbedding, "")};
  network.final_norm = source.vector(kFinalNorm);
  network.head = config.tied_embeddings ? network.embedding : make(kHead, "");
  for (int64_t index = 0; index < config.blocks; ++index) {
    LayerBlock block;
    block.block = index;
    load_norms(config, source, block);
    for (const LinearSite& site : linear_sites(config, index))
      block.linear[static_cast<size_t>(site.linear)] =
          make(site.name, site.bias ? site.bias_name() : "");
    network.blocks.push_back(std::move(block));
    if (progress)
      progress({.stage = "loading",
                .unit = "blocks",
                .done = index + 1,
                .total = config.blocks,
                .detail = ""});
  }
  return network;
}

Network dense_network(const ModelConfig& config, const WeightSource& source,
                      const ProgressFn& progress) {
  const auto dense = [&](const std::string& weight, const std::string& bias) {
    return std::make_shared<DenseLayer>(source.matrix(weight),
                                        bias.empty() ? std::vector<float>() : source.vector(bias));
  };
  return make_network(config, source, dense, progress);
}

}  // namespace watersic
