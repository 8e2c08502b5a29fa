#include "engine/streamed_layer.h"

#include <utility>
#include <vector>

namespace watersic {

StreamedLayer::StreamedLayer(const WeightSource& source, std::string weight, std::string bias)
    : source_(source),
      weight_(std::move(weight)),
      bias_(std::move(bias)),
      shape_(source.shape(weight_)) {}

void StreamedLayer::apply(ThreadPool& pool, int64_t length, MatrixView<const float> X, float beta,
                          MatrixView<float> Y) const {
  DenseLayer(source_.matrix(weight_), bias_.empty() ? std::vector<float>() : source_.vector(bias_))
      .apply(pool, length, X, beta, Y);
}

Matrix<float> StreamedLayer::rows(ThreadPool& /*pool*/, std::span<const int32_t> ids) const {
  return source_.rows(weight_, {ids.begin(), ids.end()});
}

Network network_within(const ModelConfig& config, const WeightSource& source, int64_t weight_bytes,
                       const ProgressFn& progress) {
  int64_t block_bytes = 0;
  for (const LinearSite& site : linear_sites(config, 0))
    block_bytes +=
        site.rows * (site.cols + (site.bias ? 1 : 0)) * static_cast<int64_t>(sizeof(float));
  int64_t blocks = 0;  // that are held
  while (blocks < config.blocks && (blocks + 1) * block_bytes <= weight_bytes) ++blocks;
  std::vector<std::string> streamed;
  if (!config.tied_embeddings) streamed.emplace_back(kEmbedding);
  for (int64_t block = blocks; block < config.blocks; ++block)
    streamed.push_back(block_tensor(block, ""));
  const auto make = [&](const std::string& weight,
                        const std::string& bias) -> std::shared_ptr<const LinearLayer> {
    for (const std::string& prefix : streamed)
      if (weight.starts_with(prefix)) return std::make_shared<StreamedLayer>(source, weight, bias);
    return std::make_shared<DenseLayer>(source.matrix(weight),
                                        bias.empty() ? std::vector<float>() : source.vector(bias));
  };
  return make_network(config, source, make, progress);
}

}  // namespace watersic
