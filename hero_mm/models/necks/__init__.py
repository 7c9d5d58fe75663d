"""Reasoning between encoders and heads."""

from .hierarchical_reasoning_neck import HierarchicalReasoningNeck

__all__ = ['HierarchicalReasoningNeck']
