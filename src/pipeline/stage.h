// One stage of a block: statistics, mixing, and its layers quantized and coded.
#pragma once

#include <map>
#include <tuple>
#include <vector>

#include "base/context.h"
#include "base/threads.h"
#include "encode/encode_layer.h"
#include "model/block.h"
#include "pipeline/budget.h"
#include "pipeline/output_gradients.h"
#include "pipeline/plan.h"
#include "pipeline/stopwatch.h"
#include "pipeline/streams.h"
#include "pipeline/work_folder.h"
#include "watersic/quantize.h"

namespace watersic {

// What the side information of a layer costs at least, at about so many bits; 0 where that is no
// matter. Layers of different blocks are mostly alike: by shape and options it is known.
class LeastBits {
 public:
  explicit LeastBits(ThreadPool& pool) : pool_(pool) {}
  double operator()(const LayerPlan& layer, double bits);

 private:
  ThreadPool& pool_;
  std::map<std::tuple<int64_t, int64_t, int, bool, int, double>, double> known_;
};

// Throws Error, naming the layer and the least that it needs, where the budget can't pay the side
// information of every layer.
void check_budget(ThreadPool& pool, const std::vector<std::vector<LayerPlan>>& plan,
                  const RateBudget& budget);

class StageQuantizer {
 public:
  // `weights`: the original block's. `gradients`: may be null where neither rounding nor tokens
  // mind them. `streams`: null without calibration. `options.model` must be resolved. All must
  // outlive the object.
  StageQuantizer(const Context& context, const QuantizeOptions& options, const RateBudget& budget,
                 const BlockWeights& weights, const OutputGradients* gradients, Streams* streams,
                 Stopwatch& watch)
      : context_(context),
        pool_(context.pool()),
        options_(options),
        budget_(budget),
        weights_(weights),
        gradients_(gradients),
        streams_(streams),
        watch_(watch) {}

  // `layers`: those of the stage, which ranks share. Leaves the streams as after the stage.
  FinishedStage run(Capture stage, const std::vector<LayerPlan>& layers);

 private:
  void gather(Capture stage, const std::vector<LayerPlan>& layers);
  void search(Capture stage, const std::vector<LayerPlan>& layers);
  const Moments& moments_at(double e_q, double e_a);
  // Valid until the next call.
  LayerProblem problem(const LayerPlan& layer, const Moments& moments);
  QuantizerOptions options_of(const LayerPlan& layer) const;
  LayerReport kept(const LayerPlan& layer) const;
  LayerReport quantized(const LayerPlan& layer, std::vector<std::byte>& bytes);
  LayerReport finished(const LayerPlan& layer, std::vector<std::byte>& bytes);
  void set_limit(double variance, LayerReport& report) const;
  std::vector<OutlierReport> outliers() const;

  const Context& context_;
  ThreadPool& pool_;
  const QuantizeOptions& options_;
  const RateBudget& budget_;
  const BlockWeights& weights_;
  const OutputGradients* gradients_;
  Streams* streams_;
  Stopwatch& watch_;

  StageStatistics statistics_;
  Moments mixed_;
  Matrix<double> output_metric_;  // of the layer at hand
  MixingReport mixing_;
  std::vector<double> eigenvalues_;  // of the plain S; only if limits are reported
};

}  // namespace watersic
