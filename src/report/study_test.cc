#include "report/study.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "support/sample_records.h"

namespace watersic::report {
namespace {

Json with_option(Json run, const std::string& name, const Json& value) {
  run["options"][name] = value;
  return run;
}

TEST(Study, JoinsByModelIdInAnyOrder) {
  std::vector<Json> files{sample_run("watersic", 2, "a"), sample_run("gptq", 2, "b"),
                          sample_evaluation("b", 0.05), sample_evaluation("a", 0.01)};
  std::sort(files.begin(), files.end());
  do {
    const Study study = joined(files);
    ASSERT_EQ(study.benches.size(), 1U);
    for (size_t run = 0; run < 2; ++run) {
      const Evaluation* e = study.evaluation(study.benches[0], run);
      ASSERT_NE(e, nullptr);
      EXPECT_EQ(e->model_id, study.runs[run].model_id);
    }
    EXPECT_EQ(study.labels, (std::vector<std::string>{"watersic, 2 bits", "gptq, 2 bits"}));
    EXPECT_EQ(study.benches[0].original_perplexity, 20);
    EXPECT_TRUE(study.notes.empty());
  } while (std::next_permutation(files.begin(), files.end()));
}

TEST(Study, RunsThatDifferInBitsAreACurve) {
  const Study study = joined(
      {sample_run("gptq", 3, "c"), sample_run("watersic", 3, "b"), sample_run("watersic", 1, "a")});
  ASSERT_EQ(study.series.size(), 2U);
  EXPECT_EQ(study.series[0].name, "watersic");
  EXPECT_EQ(study.series[0].runs, (std::vector<size_t>{0, 1}));
  EXPECT_EQ(study.runs[0].model_id, "a");
  EXPECT_EQ(study.labels[0], "watersic, 1 bit");
  EXPECT_EQ(study.series[1].name, "gptq");
}

TEST(Study, OtherOptionsAreAnotherCurveAndNamed) {
  const Json plain = sample_run("watersic", 2, "a");
  const Study study = joined({plain, with_option(sample_run("watersic", 2, "b"), "trellis", 0),
                              with_option(sample_run("watersic", 1, "c"), "trellis", 0)});
  ASSERT_EQ(study.series.size(), 2U);
  EXPECT_EQ(study.series[0].name, "watersic");
  EXPECT_EQ(study.series[1].name, "watersic, trellis 0");
  EXPECT_EQ(study.series[1].runs.size(), 2U);

  // Of options that go together one is said, the one with short values.
  Json tied = with_option(sample_run("watersic", 2, "e"), "trellis", 0);
  tied["options"]["overrides"] = {"a long regular expression:bits=3", "another:bits=4"};
  EXPECT_EQ(joined({plain, tied}).series[1].name, "watersic, trellis 0");
  tied["options"]["trellis"] = nullptr;
  EXPECT_EQ(joined({plain, tied}).series[1].name, "watersic, overrides a long regular expressio…");

  Json other = sample_run("watersic", 2, "d");
  other["model"] = "models/other/";
  EXPECT_EQ(joined({plain, other}).series[1].name, "watersic, other");
}

TEST(Study, ATargetThatFollowsFromAFileSizeIsOfTheSameCurve) {
  Json sized = with_option(sample_run("watersic", 2, "b"), "file_size", 300000);
  sized["totals"]["target_bits"] = 1.98765;
  const Study study = joined({with_option(sample_run("watersic", 2, "a"), "file_size", 0), sized});
  EXPECT_EQ(study.series.size(), 1U);
  EXPECT_EQ(study.labels[1], "watersic, 1.988 bits");
}

TEST(Study, LabelsAreDistinct) {
  const Study study = joined(
      {sample_run("watersic", 2, "aaaaaaaaaaaa"), sample_run("watersic", 2, "bbbbbbbbbbbb")});
  EXPECT_EQ(study.labels[0], "watersic, 2 bits (aaaaaaaa)");
  EXPECT_EQ(study.labels[1], "watersic, 2 bits (bbbbbbbb)");
}

TEST(Study, OtherTextsDoNotCompare) {
  const Study study =
      joined({sample_run("watersic", 2, "a"), sample_run("gptq", 2, "b"),
              sample_evaluation("a", 0.01, "first"), sample_evaluation("a", 0.02, "second"),
              sample_evaluation("b", 0.03, "second")});
  ASSERT_EQ(study.benches.size(), 2U);
  EXPECT_EQ(study.benches[0].text_hash, "second");  // where more runs are
  EXPECT_EQ(study.evaluation(study.benches[0], 0)->kl_bits, 0.02);
  EXPECT_EQ(study.evaluation(study.benches[1], 0)->kl_bits, 0.01);
  EXPECT_EQ(study.evaluation(study.benches[1], 1), nullptr);

  Json context = sample_evaluation("b", 0.03, "first");
  context["context"] = 512;
  EXPECT_EQ(joined({sample_run("watersic", 2, "a"), sample_run("gptq", 2, "b"),
                    sample_evaluation("a", 0.01, "first"), context})
                .benches.size(),
            2U);
}

TEST(Study, WithoutAReferenceOnTheSameTextThereIsStillAPerplexity) {
  Json lone = sample_evaluation("b", 0.03), original = sample_evaluation("original", 0);
  for (const char* field :
       {"reference", "reference_id", "reference_perplexity", "kl_bits", "top1"}) {
    lone.erase(field);
    original.erase(field);
  }
  original["model"] = "models/sample";
  original["perplexity"] = 19.5;
  const Study study = joined({sample_run("watersic", 2, "a"), sample_run("gptq", 2, "b"), lone,
                              sample_evaluation("a", 0.01)});
  ASSERT_EQ(study.benches.size(), 1U);
  EXPECT_EQ(study.evaluation(study.benches[0], 1)->perplexity, 20.03);

  // The checkpoint that the runs began with is the original, referred to or not.
  const Study unreferred = joined({sample_run("gptq", 2, "b"), lone, original});
  ASSERT_EQ(unreferred.benches.size(), 1U);
  EXPECT_EQ(unreferred.benches[0].original_perplexity, 19.5);
  EXPECT_EQ(unreferred.evaluation_labels[0], "sample, original");
  EXPECT_TRUE(unreferred.notes.empty());
}

TEST(Study, WhatDoesNotFitTogetherIsSaid) {
  const Study study = joined({sample_run("watersic", 2, "a"), sample_evaluation("stranger", 0.1)});
  ASSERT_EQ(study.notes.size(), 2U);
  EXPECT_NE(study.notes[0].find("1.json"), std::string::npos);
  EXPECT_NE(study.notes[0].find("stranger"), std::string::npos);
  EXPECT_NE(study.notes[1].find("0.json"), std::string::npos);
  EXPECT_TRUE(study.benches.empty());
}

TEST(Study, WhatComesAgainIsTakenOnce) {
  Json later = sample_evaluation("a", 0.02);
  const Study study = joined({sample_run("watersic", 2, "a"), sample_evaluation("a", 0.01), later,
                              sample_run("watersic", 2, "a")});
  EXPECT_EQ(study.runs.size(), 1U);
  EXPECT_EQ(study.evaluations.size(), 1U);
  EXPECT_EQ(study.evaluation(study.benches[0], 0)->kl_bits, 0.02);
  EXPECT_EQ(study.notes.size(), 2U);
}

TEST(Study, BaseName) {
  EXPECT_EQ(base_name("models/books-llama"), "books-llama");
  EXPECT_EQ(base_name("models/books-llama//"), "books-llama");
  EXPECT_EQ(base_name("one"), "one");
  EXPECT_EQ(base_name("/"), "/");
  EXPECT_EQ(base_name(""), "");
}

}  // namespace
}  // namespace watersic::report
