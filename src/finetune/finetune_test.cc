// A small checkpoint, quantized and trained.
#include "watersic/finetune.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "coding/dec_tensor.h"
#include "container/read_container.h"
#include "io/json.h"
#include "model/config.h"
#include "support/small_checkpoint.h"
#include "watersic/error.h"
#include "watersic/file.h"
#include "watersic/quantize.h"

namespace watersic {
namespace {

using Source = CalibrationOptions::Source;

class Finetune : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TestFolder("finetune");
    ThreadPool pool;
    write_small_checkpoint(pool, file("model"));
    quantize("two.wsic", Method::kWatersic, [](QuantizeOptions& options) { options.bits = 2; });
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::filesystem::path file(const std::string& name) { return *folder_ / name; }
  static std::string bytes_of(const std::string& name) {
    std::ifstream in(file(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void quantize(const std::string& name, Method method,
                       const std::function<void(QuantizeOptions&)>& change) {
    QuantizeOptions options;
    options.method = method;
    options.calibration = {.source = Source::kSelf, .samples = 32, .sequence_length = 32};
    // Far enough from the best that there is something to mend, on a model that is random.
    options.model = {.drift = false,
                     .residual = false,
                     .output_metric = false,
                     .attention_weighting = false,
                     .allocation = Allocation::kUniform};
    options.limits = false;
    options.coder = Coder::kPooled;  // quick
    if (method == Method::kWatersic) options.trellis = 8;
    options.threads = 2;
    change(options);
    quantize_model(file("model"), file(name), options);
  }
  // Two epochs of eight steps.
  static FinetuneOptions options() {
    FinetuneOptions out;
    out.reference = file("model");
    out.calibration = {.source = Source::kSelf, .samples = 64, .sequence_length = 64};
    out.held_out = 8;
    out.epochs = 2;
    out.batch = 8;
    out.learning_rate = 5e-3;
    out.final_learning_rate = 1e-3;
    out.threads = 2;
    return out;
  }
  static std::string error_of(const FinetuneOptions& options,
                              const std::string& input = "two.wsic") {
    try {
      finetune(file(input), file("failed.wsic"), options);
    } catch (const Error& e) {
      for (const auto& entry : std::filesystem::directory_iterator(folder_->path()))
        EXPECT_EQ(entry.path().string().find("failed"), std::string::npos) << entry.path();
      return e.what();
    }
    return "(no error)";
  }

  static TestFolder* folder_;
};
TestFolder* Finetune::folder_ = nullptr;

// A file with a basis is trained as the model that it is.
TEST_F(Finetune, AFileWithABasisIsOneModel) {
  quantize("principal.wsic", Method::kWatersic, [](QuantizeOptions& options) {
    options.bits = 2.5;
    options.model.basis = Basis::kPrincipal;
  });
  FinetuneOptions some = options();
  some.epochs = 1;
  const FinetuneReport report = finetune(file("principal.wsic"), file("out.wsic"), some),
                       native = finetune(file("two.wsic"), file("out2.wsic"), some);
  // With ends that are not turned it would be another model, bits away.
  EXPECT_LT(report.kl_bits_before, 2 * native.kl_bits_before);
  EXPECT_LE(report.kl_bits_after, report.kl_bits_before);
  const ContainerReader in(file("principal.wsic")), out(file("out.wsic"));
  EXPECT_TRUE(
      std::ranges::equal(in.bytes(in.section(kBasisName)), out.bytes(out.section(kBasisName))));
}

TEST_F(Finetune, BringsTheModelNearerAndChangesItsScalesAlone) {
  const FinetuneReport report = finetune(file("two.wsic"), file("out.wsic"), options());
  EXPECT_LT(report.kl_bits_after, report.kl_bits_before);
  ASSERT_GT(report.best_epoch, 0);
  ASSERT_EQ(report.epochs.size(), 2U);
  // A random model generalizes little; what it is trained on it learns.
  EXPECT_LT(report.epochs[1].kl_bits, 0.9 * report.epochs[0].kl_bits);
  EXPECT_EQ(report.kl_bits_after,
            report.epochs[static_cast<size_t>(report.best_epoch - 1)].held_out_kl_bits);
  EXPECT_EQ(report.steps, 16);
  EXPECT_NEAR(report.epochs[1].learning_rate, 1e-3, 1e-12);
  EXPECT_GT(report.epochs[0].learning_rate, 1e-3);
  EXPECT_EQ(report.windows, 64);
  EXPECT_EQ(report.held_out_windows, 8);
  // Two blocks: rows and columns of q, k, v, o, gate, up and down.
  EXPECT_EQ(report.parameters, 2 * (2 * 256 + 2 * 192 + 2 * 320 + 320));
  EXPECT_EQ(report.output_bytes,
            static_cast<int64_t>(std::filesystem::file_size(file("out.wsic"))));
  EXPECT_LT(report.output_bits, report.input_bits + 0.02);
  EXPECT_NE(report.input_id, report.output_id);

  ThreadPool pool(2);
  const ContainerReader before(file("two.wsic")), after(file("out.wsic"));
  after.verify(pool);
  ASSERT_EQ(before.sections().size(), after.sections().size());
  int changed = 0;
  for (size_t i = 0; i < before.sections().size(); ++i) {
    const Section &a = before.sections()[i], &b = after.sections()[i];
    ASSERT_EQ(a.name, b.name);
    ASSERT_EQ(a.kind, b.kind);
    EXPECT_EQ(a.shape, b.shape);
    if (a.kind == SectionKind::kQuantized) {
      const QuantizedTensor p = before.quantized(a.name, pool), q = after.quantized(a.name, pool);
      EXPECT_TRUE(std::ranges::equal(p.codes.values(), q.codes.values())) << a.name;
      EXPECT_EQ(p.dead, q.dead);
      changed += p.row_scale.half != q.row_scale.half ? 1 : 0;
      changed += p.column_scale.half != q.column_scale.half ? 1 : 0;
    } else if (a.name != kManifestName) {
      EXPECT_EQ(a.checksum, b.checksum) << a.name;
    }
  }
  EXPECT_GT(changed, 14);  // of 28 sets, some of few bits
  Json was = before.manifest()["options"], is = after.manifest()["options"];
  EXPECT_EQ(is["finetune"]["epochs"], 2);
  EXPECT_EQ(is["finetune"]["best_epoch"], report.best_epoch);
  is.erase("finetune");
  EXPECT_EQ(was, is);
  const Json json = Json::parse(to_json(report));
  EXPECT_EQ(json["schema"], "watersic.finetune/1");
  EXPECT_EQ(json["epochs"].size(), 2U);
  EXPECT_EQ(json["kl_bits_after"], report.kl_bits_after);

  // What was written is what was measured: the same windows see it again.
  FinetuneOptions again = options();
  again.epochs = 1;
  const FinetuneReport second = finetune(file("out.wsic"), file("again.wsic"), again);
  EXPECT_EQ(second.kl_bits_before, report.kl_bits_after);
  EXPECT_LE(second.kl_bits_after, second.kl_bits_before);
}

TEST_F(Finetune, TheLearningRateFollowsTheSteps) {
  FinetuneOptions open = options();
  open.epochs = 1;
  open.calibration.sequence_length = 8;
  open.learning_rate = open.final_learning_rate = std::nullopt;
  for (const auto& [samples, batch, steps, rate] :
       {std::tuple(4, 4, 1, 1e-2), std::tuple(32, 1, 32, 5e-3)}) {
    open.calibration.samples = samples;
    open.batch = batch;
    const FinetuneReport report = finetune(file("two.wsic"), file("out.wsic"), open);
    EXPECT_EQ(report.steps, steps);
    EXPECT_NEAR(*report.options.learning_rate, rate, 1e-12);
    EXPECT_NEAR(*report.options.final_learning_rate, rate / 100, 1e-12);
  }
}

TEST_F(Finetune, TheThreadsChangeNothing) {
  FinetuneOptions one = options();
  one.epochs = 1;
  FinetuneOptions three = one;
  one.threads = 1;
  three.threads = 3;
  finetune(file("two.wsic"), file("one.wsic"), one);
  finetune(file("two.wsic"), file("three.wsic"), three);
  EXPECT_EQ(bytes_of("one.wsic"), bytes_of("three.wsic"));
}

// A rate of zero changes nothing; one of 1 does only harm.
TEST_F(Finetune, NeverWritesAWorseModel) {
  for (const double rate : {0.0, 1.0}) {
    FinetuneOptions bad = options();
    bad.epochs = 1;
    bad.learning_rate = bad.final_learning_rate = rate;
    const FinetuneReport report = finetune(file("two.wsic"), file("same.wsic"), bad);
    EXPECT_EQ(report.best_epoch, 0);
    EXPECT_EQ(report.kl_bits_after, report.kl_bits_before);
    EXPECT_GE(report.epochs[0].held_out_kl_bits, report.kl_bits_before);
    EXPECT_EQ(report.input_id, report.output_id);  // of all tensors and the configuration
  }
}

TEST_F(Finetune, OtherKindsOfScales) {
  struct Kind {
    const char* name;
    Method method;
    std::function<void(QuantizeOptions&)> change;
  };
  const Kind kinds[] = {
      {"groups", Method::kGptq,
       [](QuantizeOptions& o) {
         o.bits = 2;
         o.group_size = 32;
       }},
      {"rotated", Method::kHuffmanGptq, [](QuantizeOptions& o) { o.rotate = true; }},
      {"pooled", Method::kWatersic, [](QuantizeOptions& o) {
         o.coder = Coder::kPooled;
         o.bits = 2;
       }}};
  for (const Kind& kind : kinds) {
    SCOPED_TRACE(kind.name);
    const std::string input = std::string(kind.name) + ".wsic";
    quantize(input, kind.method, kind.change);
    const FinetuneReport report = finetune(file(input), file("out.wsic"), options());
    EXPECT_LT(report.kl_bits_after, report.kl_bits_before);
    EXPECT_LT(report.output_bits, report.input_bits + 0.1);
    const ContainerReader before(file(input)), after(file("out.wsic"));
    for (const Section& section : after.sections()) {
      if (section.kind != SectionKind::kQuantized) continue;
      const TensorSummary a = summarize_tensor(before.bytes(before.section(section.name)), ""),
                          b = summarize_tensor(after.bytes(section), "");
      EXPECT_EQ(a.classes, b.classes);
      EXPECT_EQ(a.bits.coded, b.bits.coded);  // the integers take what they took
    }
  }
}

TEST_F(Finetune, ErrorsNameWhatIsWrongAndLeaveNothing) {
  FinetuneOptions wrong = options();
  wrong.calibration.source = Source::kNone;
  EXPECT_NE(error_of(wrong).find("nothing to train on"), std::string::npos);
  wrong = options();
  wrong.epochs = 0;
  EXPECT_EQ(error_of(wrong), "epochs: expected at least 1, found 0");
  wrong = options();
  wrong.learning_rate = NAN;
  EXPECT_EQ(error_of(wrong), "learning rate: expected 0 to 1, found nan");
  wrong = options();
  wrong.calibration.sequence_length = 129;
  EXPECT_NE(error_of(wrong).find("at most 128"), std::string::npos);
  wrong = options();
  wrong.reference = file("absent");
  EXPECT_NE(error_of(wrong).find("absent"), std::string::npos);
  EXPECT_NE(error_of(options(), "absent.wsic").find("absent.wsic"), std::string::npos);
  EXPECT_NE(error_of(options(), "model/config.json").find("is not a .wsic file"),
            std::string::npos);
  wrong = options();
  std::string text;
  for (int i = 0; i < 20; ++i) text += "Sentence number " + std::to_string(i) + ".\n";
  write_file(file("short.txt"), text);
  wrong.calibration.source = Source::kText;
  wrong.calibration.file = file("short.txt");
  EXPECT_NE(error_of(wrong).find("more than the 8 held-out windows of 64 tokens"),
            std::string::npos)
      << error_of(wrong);
  // A reference that speaks of other tokens.
  Json other = small_config();
  other["vocab_size"] = 4200;
  ThreadPool pool(1);
  write_small_checkpoint(pool, file("other"), 1, other);
  wrong = options();
  wrong.reference = file("other");
  EXPECT_NE(error_of(wrong).find("vocabulary of 4200, found 4096"), std::string::npos);
}

TEST_F(Finetune, ProgressIsTold) {
  std::vector<ProgressEvent> events;
  FinetuneOptions few = options();
  finetune(file("two.wsic"), file("out.wsic"), few,
           [&](const ProgressEvent& event) { events.push_back(event); });
  int details = 0, last = 0;
  for (const ProgressEvent& event : events) {
    EXPECT_LE(event.done, event.total) << event.stage;
    if (event.stage != "fine-tuning") continue;
    details += event.detail.empty() ? 0 : 1;
    last = static_cast<int>(event.done);
  }
  EXPECT_EQ(events.front().stage, "sampling calibration text");
  EXPECT_EQ(details, 3);  // before, and after each epoch
  EXPECT_EQ(last, 16);
}

}  // namespace
}  // namespace watersic
